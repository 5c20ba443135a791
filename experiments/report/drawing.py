"""Which figures a report has."""

import re
from pathlib import Path

from experiments.report import figures
from experiments.report.outcomes import VALIDATION, is_range
from experiments.report.style import looks
from experiments.report.summary import Summary
from experiments.report.tables import LUTS

ACCURACY_AND_SIZE, CURVES, PARALLEL = "Accuracy and size", "Learning curves", "All dimensions"


def draw(summary: Summary, folder: Path) -> dict[str, Path]:
    """Draws what the finished trials allow, and gives the path of each figure by its title.

    A dimension's figure has the dimension's name. Accuracy against LUTs needs configurations of different size, and
    parallel coordinates need three dimensions. The first dimension with few values colours the marks.
    """
    if not summary.ranked:
        return {}
    drawn = {label: _draw_dimension(summary, label, folder) for label in summary.dimensions}
    if len({one.mean(LUTS.key) for one in summary.ranked}) > 1:
        coloured, colours = next(iter(summary.looks.items()), (None, {}))
        drawn[ACCURACY_AND_SIZE] = figures.accuracy_against_luts(
            summary.ranked, summary.front, coloured, colours, folder / "luts.png"
        )
    if summary.looks and any(VALIDATION in row for one in summary.outcomes for row in one.curve):
        drawn[CURVES] = figures.learning_curves(summary.outcomes, summary.looks, folder / "curves.png")
    if len(summary.dimensions) >= 3:
        drawn[PARALLEL] = figures.parallel_coordinates(summary.ranked, summary.dimensions, folder / "parallel.png")
    return {title: path for title, path in drawn.items() if path}


def _draw_dimension(summary: Summary, label: str, folder: Path) -> Path | None:
    path = folder / f"dimension_{re.sub(r'[^a-zA-Z0-9_]', '_', label)}.png"
    if is_range(summary.dimensions[label]):
        return figures.by_number(summary.outcomes, label, path)
    if label not in summary.effects:
        return None
    return figures.by_value(summary.outcomes, summary.effects[label], looks(summary.dimensions[label]), label, path)
