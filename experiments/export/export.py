"""The export job."""

from difflut.registry import register_job
from experiments.export.exporting import export_run

export = register_job("export")(export_run)
