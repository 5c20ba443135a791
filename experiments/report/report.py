"""The report job."""

from pathlib import Path

from difflut.registry import register_job
from experiments.report.writing import write_report


@register_job("report")
def report(sweep: str) -> Path:
    """Reports on a sweep, finished or running: prints the tables, and writes them, figures and a page.

    Args:
        sweep: The sweep's folder.

    Returns:
        The page's path.
    """
    return write_report(sweep)
