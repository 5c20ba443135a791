"""Which figures a report has."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments.report import figures, tables
from experiments.report.outcomes import VALIDATION, is_range, pareto_front
from experiments.report.published import published
from experiments.report.style import looks
from experiments.report.summary import Summary
from experiments.report.tables import Score
from experiments.shared.failures import optional

SIZE, TABLES, TIME = "Accuracy and size", "Accuracy and tables", "Accuracy and time"
CURVES, PARALLEL = "Learning curves", "All dimensions"
COSTS = {SIZE: tables.LUTS, TABLES: tables.TABLES, TIME: tables.SECONDS}


def draw(summary: Summary, folder: Path) -> dict[str, Path]:
    """Draws what the finished trials allow, and gives the path of each figure by its title.

    A dimension's figure has the dimension's name. A figure that cannot be drawn is told in a line.
    """
    figures_by_title: dict[str, Callable[[], Path | None]] = {
        **{label: partial(_draw_dimension, summary, label, folder) for label in summary.dimensions},
        **{title: partial(_draw_cost, summary, cost, folder / f"{cost.key}.png") for title, cost in COSTS.items()},
        CURVES: partial(_draw_curves, summary, folder / "curves.png"),
        PARALLEL: partial(_draw_all_dimensions, summary, folder / "parallel.png"),
    }
    drawn = {}
    for title, figure in figures_by_title.items() if summary.ranked else ():
        with optional(f"figure {title!r}"):
            if path := figure():
                drawn[title] = path
    return drawn


def _draw_cost(summary: Summary, cost: Score, path: Path) -> Path | None:
    """Accuracy against a cost in which configurations differ; the first dimension with few values colours them."""
    counted = [configuration for configuration in summary.ranked if configuration.scores(cost.key)]
    if len({configuration.mean(cost.key) for configuration in counted}) < 2:
        return None
    coloured, colours = next(iter(summary.looks.items()), (None, {}))
    others = published(summary.dataset) if cost is tables.LUTS else []
    front = pareto_front(counted, cost.key)
    return figures.accuracy_against(cost, counted, front, coloured, colours, others, path)


def _draw_curves(summary: Summary, path: Path) -> Path | None:
    if summary.looks and any(VALIDATION in row for outcome in summary.outcomes for row in outcome.curve):
        return figures.learning_curves(summary.outcomes, summary.looks, path)
    return None


def _draw_all_dimensions(summary: Summary, path: Path) -> Path | None:
    """Parallel coordinates, where there are three dimensions or more."""
    if len(summary.dimensions) < 3:
        return None
    return figures.parallel_coordinates(summary.ranked, summary.dimensions, path)


def _draw_dimension(summary: Summary, label: str, folder: Path) -> Path | None:
    path = folder / f"dimension_{re.sub(r'[^a-zA-Z0-9_]', '_', label)}.png"
    if is_range(summary.dimensions[label]):
        return figures.by_number(summary.outcomes, label, path)
    if label not in summary.effects:
        return None
    return figures.by_value(summary.outcomes, summary.effects[label], looks(summary.dimensions[label]), label, path)
