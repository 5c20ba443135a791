"""The figure of accuracy against what it costs: LUTs, tables, or time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report.outcomes import ACCURACY, MANY, Configuration
from experiments.report.published import ENCODER, Published
from experiments.report.style import FORMATS, PLAIN, Look, draw_legend
from experiments.report.tables import Score
from experiments.shared.figures import INK, figure_at, log_ticks, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PUBLISHED = {key: Look("#7F7F7F", marker, "") for key, marker in zip(ENCODER, ("D", "x", "+"), strict=True)}


def accuracy_against(
    cost: Score,
    ranked: Sequence[Configuration],
    front: Sequence[Configuration],
    dimension: str | None,
    looks: Mapping[str, Look],
    others: Sequence[Published],
    path: Path,
) -> Path:
    """Draws mean accuracy against the mean of a cost, and the Pareto front with the ranks of its members.

    Lines through a mark are standard deviations over seeds; more than a few marks go without.

    Args:
        cost: What it is drawn against.
        ranked: The configurations, best first.
        front: Those of them on the Pareto front, which validation rows decide, the cheapest first.
        dimension: The one that gives the marks their looks, if any does.
        others: Results that others published of the data set, where the cost is LUTs.
    """
    with figure_at(path, (10, 4.8), FORMATS) as figure:
        axes = figure.subplots()
        axes.step(
            [mark.mean(cost.key) for mark in front], [mark.mean(ACCURACY) for mark in front],
            where="post", color=INK, lw=1, label="Pareto front", zorder=1,
        )  # fmt: skip
        for mark in reversed(ranked):
            look = looks[mark.values[dimension]] if dimension else PLAIN
            errors = [mark.deviation(key) if len(ranked) <= MANY else None for key in (cost.key, ACCURACY)]
            axes.errorbar(
                mark.mean(cost.key), mark.mean(ACCURACY), xerr=errors[0], yerr=errors[1],
                fmt=look.marker, color=look.colour, ms=8, mec=INK if mark in front else "white", elinewidth=1,
            )  # fmt: skip
        for index, mark in enumerate(front):
            position = mark.mean(cost.key), mark.mean(ACCURACY)
            rank = str(ranked.index(mark) + 1)
            # By turns on both sides of the front, so that neighbours' numbers stay apart.
            shift, side = ((-6, 6), "right") if index % 2 == 0 else ((6, -13), "left")
            axes.annotate(rank, position, shift, textcoords="offset points", ha=side, fontsize=9)
        axes.set(title="Hard accuracy and what it costs", xlabel=cost.title)
        axes.set_xscale("log")
        _draw_published(axes, others)
        log_ticks(axes.xaxis, [*(mark.mean(cost.key) for mark in ranked), *(other.luts for other in others)])
        axes.yaxis.set_major_formatter(percent)
        published_looks = {
            f"published, encoder {key}": PUBLISHED[key] for key in dict.fromkeys(mark.encoder for mark in others)
        }
        draw_legend(axes, {**looks, **published_looks}, marks=True)
    return path


def _draw_published(axes: "Axes", others: Sequence[Published]) -> None:
    for other in others:
        look, position = PUBLISHED[other.encoder], (other.luts, other.accuracy)
        axes.plot(*position, look.marker, color=look.colour, ms=6, zorder=1)
        axes.annotate(other.name, position, (5, -3), textcoords="offset points", fontsize=7, color=look.colour)
