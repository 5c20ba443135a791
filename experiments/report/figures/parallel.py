"""The figure of all dimensions at once."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.report.outcomes import ACCURACY, Configuration, is_logarithmic, is_range
from experiments.report.style import FORMATS
from experiments.shared.figures import FAINT, HARD, figure_at, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def parallel_coordinates(ranked: Sequence[Configuration], dimensions: Mapping[str, Sequence[str]], path: Path) -> Path:
    """Draws each configuration as a line through its values, to its mean accuracy, which gives the colour.

    Titles stand on two levels, so that long names do not run into each other.
    """
    scales = {label: _scale(values) for label, values in dimensions.items()}
    accuracies = [configuration.mean(ACCURACY) for configuration in ranked]
    low, high = min(accuracies), max(accuracies)
    with figure_at(path, (10, 4.6), FORMATS) as figure:
        axes = figure.subplots()
        for rank, configuration in reversed(list(enumerate(ranked))):
            share = (accuracies[rank] - low) / (high - low) if high > low else 1.0
            # Lines through one value are fanned out, the better the higher.
            fan = 0.1 * (0.5 - rank / len(ranked))
            places = [
                scale[configuration.values[label]] + (0 if is_range(dimensions[label]) else fan)
                for label, scale in scales.items()
            ]
            _draw_path(axes, [*places, share], share)
        for x, (label, scale) in enumerate(scales.items()):
            _draw_scale(axes, x, label, _ticks(scale))
        ticks = np.linspace(low, high, 5) if high > low else [high]
        _draw_scale(axes, len(scales), "hard accuracy", {i / 4: percent(tick) for i, tick in enumerate(ticks)})
        axes.set(xlim=(-0.2, len(scales) + 0.3), ylim=(-0.07, 1.22))
        axes.axis("off")
    return path


def _draw_path(axes: "Axes", places: Sequence[float], share: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Line

    points = _smooth(places)
    line = Line(points, [Line.MOVETO] + [Line.CURVE4] * (len(points) - 1))
    colour = LinearSegmentedColormap.from_list("accuracy", ["#BDBDBD", "#56B4E9", HARD])(share)
    axes.add_patch(PathPatch(line, fill=False, edgecolor=colour, alpha=0.4 + 0.5 * share, lw=0.8 + share))


def _scale(values: Sequence[str]) -> dict[str, float]:
    """The height of each value on its axis: even steps for a few, and true to scale for a range."""
    if not is_range(values):
        return {value: index / max(len(values) - 1, 1) for index, value in enumerate(values)}
    listed = [float(value) for value in values]
    numbers = np.log(listed) if is_logarithmic(listed) else np.array(listed)
    return dict(zip(values, (numbers - numbers.min()) / np.ptp(numbers), strict=True))


def _ticks(scale: Mapping[str, float]) -> dict[float, str]:
    """What to write at an axis: every value, and of a range those nearest to five even heights."""
    if not is_range(list(scale)):
        return {height: value for value, height in scale.items()}
    nearest = [min(scale, key=lambda value: abs(scale[value] - height)) for height in np.linspace(0, 1, 5)]
    return {scale[value]: f"{float(value):.4g}" for value in nearest}


def _smooth(places: Sequence[float]) -> list[tuple[float, float]]:
    """The points of Bezier curves that cross each axis at a right angle."""
    points = [(0.0, places[0])]
    for x, (a, b) in enumerate(pairwise(places)):
        points += [(x + 0.45, a), (x + 0.55, b), (x + 1.0, b)]
    return points


def _draw_scale(axes: "Axes", x: float, title: str, ticks: Mapping[float, str]) -> None:
    axes.plot([x, x], [0, 1], color=FAINT, lw=1.2, zorder=0)
    axes.text(x, 1.1 + 0.06 * (x % 2), title, ha="center", fontweight="bold", fontsize=9)
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1}
    for height, text in ticks.items():
        axes.text(x + 0.03, height, text, va="center", fontsize=8, bbox=box)
