"""Figures of the times of training steps, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.shared.figures import CONSTANT, FAINT, HARD, INK, RELAXED, figure_at, log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def step_times(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draws the time of a training step by node type, a bar for each back end, batch size and number of threads.

    Args:
        rows: Rows with `node`, `backend`, `batch`, `threads` and `step_ms`.
    """
    nodes = list(dict.fromkeys(row["node"] for row in rows))
    variants = list(dict.fromkeys(_variant(row) for row in rows))
    settings = list(dict.fromkeys(variant[1:] for variant in variants))
    height = 0.8 / len(variants)
    with figure_at(path, (8, 1.5 + 0.22 * len(nodes) * len(variants))) as figure:
        axes = figure.subplots()
        for number, variant in enumerate(variants):
            backend, batch, threads = variant
            times = {row["node"]: row["step_ms"] for row in rows if _variant(row) == variant}
            places = [nodes.index(node) + (number - (len(variants) - 1) / 2) * height for node in times]
            color = FAINT if backend == "reference" else HARD
            label = f"{backend}, batch {batch}, {threads} thread{'s' if threads > 1 else ''}"
            bars = axes.barh(
                places,
                list(times.values()),
                0.9 * height,
                color=color,
                alpha=2 / (2 + settings.index((batch, threads))),
                label=label,
            )
            axes.bar_label(bars, [f"{time:.3g}" for time in times.values()], padding=3, fontsize=7)
        axes.set(title="Training step, ms", xscale="log", ylim=(len(nodes) - 0.5, -0.5))
        log_ticks(axes.xaxis, [row["step_ms"] for row in rows])
        axes.set_yticks(range(len(nodes)), nodes)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return Path(path)


def step_times_by_batch(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draws the time of a training step over the batch size, a panel for each node type and first layer.

    Args:
        rows: Rows with `node`, `first_layer`, `backend`, `threads`, `batch`, `step_ms` and, where it is known,
            `floor_ms`.
    """
    panels = list(dict.fromkeys((row["node"], row["first_layer"]) for row in rows))
    columns = min(4, len(panels))
    height = -(-len(panels) // columns)
    with figure_at(path, (3 * columns, 0.5 + 2.4 * height)) as figure:
        grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_steps(axes, [row for row in rows if (row["node"], row["first_layer"]) == panel])
            axes.set(title=panel[0] if panel[1] == "random" else " ".join(panel), xscale="log", yscale="log")
        # All panels share their axes, and with them their ticks.
        log_ticks(grid[0, 0].xaxis, [row["batch"] for row in rows])
        times = [row[key] for row in rows for key in ("step_ms", "floor_ms") if row.get(key)]
        log_ticks(grid[0, 0].yaxis, times)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supylabel("training step, ms")
        figure.supxlabel("batch size")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return Path(path)


def _draw_steps(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    colors = {"auto": HARD, "reference": RELAXED}
    counts = sorted({row["threads"] for row in rows})
    for backend, threads in dict.fromkeys((row["backend"], row["threads"]) for row in rows):
        timed = [row for row in rows if (row["backend"], row["threads"]) == (backend, threads)]
        label = backend if len(counts) == 1 else f"{backend}, threads: {threads}"
        style: dict[str, Any] = {
            "color": colors.get(backend, CONSTANT),
            "marker": "o",
            "ms": 3,
            "alpha": 1 / (1 + counts.index(threads)),
        }
        axes.plot([row["batch"] for row in timed], [row["step_ms"] for row in timed], label=label, **style)
    floors = {row["batch"]: row["floor_ms"] for row in rows if row.get("floor_ms")}
    axes.plot(list(floors), list(floors.values()), color=INK, linewidth=1, linestyle=":", label="floor")


def _variant(row: Mapping[str, Any]) -> tuple[str, int, int]:
    return row["backend"], row["batch"], row["threads"]
