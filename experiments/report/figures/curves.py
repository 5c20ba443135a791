"""The figure of learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.report.outcomes import VALIDATION, Outcome
from experiments.report.style import FORMATS, Look, draw_legend
from experiments.shared.figures import figure_at, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(outcomes: Sequence[Outcome], dimensions: Mapping[str, Mapping[str, Look]], path: Path) -> Path:
    """Draws validation accuracy by epoch, a panel for each dimension, a line for each of its values.

    A line is the mean over configurations of their means over seeds, in finished trials; its band is the standard
    deviation over seeds, its square averaged over configurations.

    Args:
        dimensions: The looks of each dimension's values.
    """
    columns = min(len(dimensions), 2)
    rows = -(-len(dimensions) // columns)
    with figure_at(path, (10, 0.6 + 3.2 * rows), FORMATS) as figure:
        from matplotlib.ticker import MaxNLocator

        panels = iter(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
        for (dimension, looks), axes in zip(dimensions.items(), panels, strict=False):
            for value, look in looks.items():
                _draw_curve(axes, [outcome for outcome in outcomes if outcome.values[dimension] == value], look)
            axes.set(title=dimension, xlabel="epoch")
            axes.xaxis.set_tick_params(labelbottom=True)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.yaxis.set_major_formatter(percent)
            draw_legend(axes, looks, marks=False)
        for axes in panels:
            axes.set_visible(False)
        _cut_start(figure.axes)
    return path


def _draw_curve(axes: "Axes", outcomes: Sequence[Outcome], look: Look) -> None:
    groups: dict[tuple[str, ...], list[list[float]]] = {}
    for outcome in outcomes:
        curve = [row[VALIDATION] for row in outcome.curve if VALIDATION in row]
        if outcome.status == "finished" and curve:
            groups.setdefault(tuple(outcome.values.values()), []).append(curve)
    if not groups:
        return
    length = min(len(curve) for curves in groups.values() for curve in curves)
    seeds = [np.array([curve[:length] for curve in curves]) for curves in groups.values()]
    epochs, mean = np.arange(1, length + 1), np.mean([curves.mean(0) for curves in seeds], axis=0)
    axes.plot(epochs, mean, look.dash, color=look.colour, lw=1.6, marker="o" if length == 1 else None)
    variances = [curves.var(0, ddof=1) for curves in seeds if len(curves) > 1]
    if variances:
        spread = np.mean(variances, axis=0) ** 0.5
        axes.fill_between(epochs, mean - spread, mean + spread, color=look.colour, alpha=0.15, lw=0)


def _cut_start(panels: Sequence["Axes"]) -> None:
    """Leaves the steep first epochs out of the picture, where they would squeeze all the rest."""
    lines = [np.asarray(line.get_ydata()) for axes in panels for line in axes.lines]
    if lines:
        bottom, top = min(line[len(line) // 8 :].min() for line in lines), max(line.max() for line in lines)
        panels[0].set_ylim(bottom - 0.1 * (top - bottom + 1e-3), top + 0.05 * (top - bottom + 1e-3))
