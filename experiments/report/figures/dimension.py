"""The figures of one dimension."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.report.effects import Effect
from experiments.report.outcomes import ACCURACY, Outcome, is_logarithmic
from experiments.report.style import FORMATS, Look
from experiments.shared.figures import HARD, INK, figure_at, log_ticks, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def by_value(
    outcomes: Sequence[Outcome], effects: Sequence[Effect], looks: Mapping[str, Look], dimension: str, path: Path
) -> Path:
    """Draws a dimension: the accuracy of each value, and beside it its effect with the others held.

    On the left are all finished runs as dots, and their mean and standard deviation; on the right the mean differences
    to the reference as bars, their standard errors, and each difference as a dot.
    """
    scores = {effect.value: _scores(outcomes, dimension, effect.value) for effect in effects}
    with figure_at(path, (10, 1.5 + 0.36 * max(len(effects), 3)), FORMATS) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for row, effect in enumerate(effects):
            _draw_runs(left, row, scores[effect.value], looks[effect.value])
            _draw_effect(right, row, effect, looks[effect.value])
        left.set(title="Hard accuracy", xlabel="runs, mean ± standard deviation")
        left.set_yticks(range(len(effects)), [effect.value for effect in effects])
        left.set_ylim(len(effects) - 0.4, -0.6)
        right.axvline(0, color=INK, linewidth=0.8)
        right.set(
            title="Effect, others fitted" if effects[0].fitted else "Effect, all else equal",
            xlabel=f"difference to {effects[0].reference}, ± standard error",
        )
        for axes, formatter in ((left, percent), (right, _points)):
            axes.xaxis.set_major_formatter(formatter)
            axes.grid(axis="x")
            axes.grid(False, axis="y")
    return path


def _scores(outcomes: Sequence[Outcome], dimension: str, value: str) -> list[float]:
    finished = (outcome for outcome in outcomes if outcome.status == "finished" and ACCURACY in outcome.scores)
    return [outcome.scores[ACCURACY] for outcome in finished if outcome.values[dimension] == value]


def _draw_runs(axes: "Axes", row: int, scores: Sequence[float], look: Look) -> None:
    axes.plot(scores, _below(row, len(scores)), look.marker, color=look.colour, alpha=0.45, ms=4, mew=0)
    error = statistics.stdev(scores) if len(scores) > 1 else None
    axes.errorbar(
        statistics.fmean(scores), row - 0.12, xerr=error,
        fmt=look.marker, color=look.colour, ms=8, mec="white", elinewidth=2,
    )  # fmt: skip


def _draw_effect(axes: "Axes", row: int, effect: Effect, look: Look) -> None:
    if effect.value == effect.reference:
        axes.text(0, row, "  reference", va="center", fontsize=8, color=INK)
    elif effect.mean is None:
        axes.text(0, row, "  no matched pair", va="center", fontsize=8, color=INK)
    else:
        axes.barh(row, effect.mean, 0.62, color=look.colour, alpha=0.35)
        axes.errorbar(effect.mean, row - 0.12, xerr=effect.error, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        places = _below(row, len(effect.differences))
        axes.plot(effect.differences, places, look.marker, color=look.colour, ms=4, mec="white", mew=0.4)


def _below(row: int, count: int) -> np.ndarray:
    """Places under the middle of a row, five deep, so that equal dots do not hide each other."""
    return row + 0.15 + 0.05 * (np.arange(count) % 5 - min(count - 1, 4) / 2)


def by_number(outcomes: Sequence[Outcome], dimension: str, path: Path) -> Path:
    """Draws a dimension of many numbers: each finished run as a dot at its value."""
    finished = [outcome for outcome in outcomes if outcome.status == "finished" and ACCURACY in outcome.scores]
    x = [float(outcome.values[dimension]) for outcome in finished]
    with figure_at(path, (10, 3.4), FORMATS) as figure:
        axes = figure.subplots()
        axes.plot(x, [outcome.scores[ACCURACY] for outcome in finished], "o", color=HARD, alpha=0.5, ms=5, mew=0)
        axes.set(title="Hard accuracy, each run", xlabel=dimension)
        if is_logarithmic(x):
            axes.set_xscale("log")
            log_ticks(axes.xaxis, x)
        axes.yaxis.set_major_formatter(percent)
    return path


def _points(difference: float, position: float | None = None) -> str:
    return f"{100 * difference:+.3g}" if difference else "0"
