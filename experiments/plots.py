"""Figures of a training run, as PNG files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metrics = Sequence[Mapping[str, float]]

# Colours of Okabe and Ito, told apart by color-blind readers and in gray.
HARD, RELAXED, CONSTANT, SATURATED, INK, FAINT = "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#333333", "#D9D9D9"

STYLE = {
    "figure.dpi": 150,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "legend.frameon": False,
}


def training_curves(metrics: Metrics, path: str | Path) -> Path:
    """Draws validation accuracy, the gap between relaxed and hard network, and the training loss by epoch.

    Args:
        metrics: The rows of metrics.jsonl; a value that a row lacks is left out. Accuracies go from 0 to 1.
    """
    with figure_at(path, (12, 3.6)) as figure:
        accuracy, gap, loss = figure.subplots(1, 3)
        _draw_accuracy(accuracy, metrics)
        _draw_gap(gap, metrics)
        _draw_line(loss, metrics, "train_loss", HARD)
        loss.set_title("Training loss")
        _label_epochs(accuracy, gap, loss)
    return Path(path)


def table_statistics(layers: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draws the share of constant tables and of saturated table entries by layer.

    Args:
        layers: One entry a layer: its name `layer`, and the shares `constant` and `saturated`, 0 to 1.
    """
    with figure_at(path, (6, 1.6 + 0.5 * max(len(layers), 4))) as figure:
        _draw_tables(figure.subplots(), layers)
    return Path(path)


def confusion(counts: Any, class_names: Sequence[str], path: str | Path, title: str = "Confusion matrix") -> Path:
    """Draws a confusion matrix: counts of rows by true class (down) and predicted class (across)."""
    size = 2.2 + 0.42 * min(max(len(class_names), 4), 20)
    with figure_at(path, (size, size)) as figure:
        _draw_confusion(figure.subplots(), counts, class_names, title)
    return Path(path)


def summary_figure(
    metrics: Metrics,
    counts: Any,
    class_names: Sequence[str],
    layers: Sequence[Mapping[str, Any]],
    path: str | Path,
    title: str | None = None,
) -> Path:
    """Draws a trained network in one picture: accuracy and gap by epoch, confusion on the test set, its tables."""
    with figure_at(path, (13, 4.8)) as figure:
        panels = figure.subplot_mosaic(
            [["accuracy", "confusion", "tables"], ["gap", "confusion", "tables"]],
            width_ratios=(1.15, 1.25, 1),
            height_ratios=(1.5, 1),
        )
        _draw_accuracy(panels["accuracy"], metrics)
        _draw_gap(panels["gap"], metrics)
        panels["gap"].sharex(panels["accuracy"])
        panels["accuracy"].tick_params(labelbottom=False)
        _label_epochs(panels["gap"])
        _draw_confusion(panels["confusion"], counts, class_names, "Hard network on the test set")
        _draw_tables(panels["tables"], layers)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return Path(path)


def step_times(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draws the time of a training step by node type, a bar for each back end, batch size and number of threads.

    Args:
        rows: With `node`, `backend`, `batch`, `threads` and `step_ms`.
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
        axes.set_yticks(range(len(nodes)), nodes)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return Path(path)


def step_times_by_batch(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draws the time of a training step over the batch size, a panel for each node type and first layer.

    Args:
        rows: With `node`, `first_layer`, `backend`, `threads`, `batch`, `step_ms` and, where it is known, `floor_ms`.
    """
    panels = list(dict.fromkeys((row["node"], row["first_layer"]) for row in rows))
    columns = min(4, len(panels))
    height = -(-len(panels) // columns)
    with figure_at(path, (3 * columns, 0.5 + 2.4 * height)) as figure:
        grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw_steps(axes, [row for row in rows if (row["node"], row["first_layer"]) == panel])
            axes.set(title=panel[0] if panel[1] == "random" else " ".join(panel), xscale="log", yscale="log")
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
        mine = [row for row in rows if (row["backend"], row["threads"]) == (backend, threads)]
        label = backend if len(counts) == 1 else f"{backend}, threads: {threads}"
        style = {
            "color": colors.get(backend, CONSTANT),
            "marker": "o",
            "ms": 3,
            "alpha": 1 / (1 + counts.index(threads)),
        }
        axes.plot([row["batch"] for row in mine], [row["step_ms"] for row in mine], label=label, **style)
    floors = {row["batch"]: row["floor_ms"] for row in rows if row.get("floor_ms")}
    axes.plot(list(floors), list(floors.values()), color=INK, linewidth=1, linestyle=":", label="floor")


def _variant(row: Mapping[str, Any]) -> tuple[str, int, int]:
    return row["backend"], row["batch"], row["threads"]


@contextmanager
def figure_at(path: str | Path, size: tuple[float, float], formats: Sequence[str] = ("png",)) -> Iterator["Figure"]:
    """A figure in the house's style, saved at the end at `path`, with the suffix of each format.

    Args:
        size: Width and height, inches.
        formats: Of "png", on white, and "svg", on nothing.
    """
    # A Figure of its own, without pyplot: no display is looked for, and threads do not share state.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        yield figure
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        for format in formats:
            background = "white" if format == "png" else "none"
            figure.savefig(Path(path).with_suffix(f".{format}"), format=format, facecolor=background)
            # The layout holds for the other formats too.
            figure.set_layout_engine("none")


def _draw_accuracy(axes: "Axes", metrics: Metrics) -> None:
    _draw_line(axes, metrics, "val_accuracy_relaxed", RELAXED, "relaxed")
    _draw_line(axes, metrics, "val_accuracy_hard", HARD, "hard")
    axes.set_title("Validation accuracy")
    axes.yaxis.set_major_formatter(percent)
    if axes.lines:
        axes.legend(loc="lower right")


def _draw_gap(axes: "Axes", metrics: Metrics) -> None:
    axes.axhline(0, color=INK, linewidth=0.8)
    _draw_line(axes, metrics, "gap", CONSTANT)
    axes.set_title("Gap, relaxed minus hard")
    axes.yaxis.set_major_formatter(percent)


def _draw_line(axes: "Axes", metrics: Metrics, key: str, color: str, label: str | None = None) -> None:
    points = [(row["epoch"], row[key]) for row in metrics if row.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, label=label, marker="o" if len(points) < 15 else None, ms=4)


def _label_epochs(*panels: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def percent(share: float, position: int | None = None) -> str:
    return f"{100 * share:.3g} %"


def _draw_tables(axes: "Axes", layers: Sequence[Mapping[str, Any]]) -> None:
    # Two layers get bars no thicker than those of four.
    positions, height = np.arange(len(layers)), 0.36 * min(1, len(layers) / 4)
    for shift, key, color, label in (
        (-height / 2, "constant", CONSTANT, "constant tables"),
        (height / 2, "saturated", SATURATED, "saturated entries"),
    ):
        shares = [layer[key] for layer in layers]
        bars = axes.barh(positions + shift, shares, height, color=color, label=label)
        axes.bar_label(bars, [percent(share) for share in shares], padding=3, fontsize=8)
    axes.set(title="Tables by layer", ylabel="layer")
    axes.set_yticks(positions, [str(layer["layer"]) for layer in layers])
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(0, 1.2)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(percent)
    axes.grid(axis="x")
    axes.grid(False, axis="y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, fontsize=9)


def _draw_confusion(axes: "Axes", counts: Any, class_names: Sequence[str], title: str) -> None:
    counts = np.asarray(counts)
    if counts.shape != (len(class_names), len(class_names)):
        raise ValueError(f"counts has shape {counts.shape}; {len(class_names)} class names need a square of that size")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root of the share lets the rare errors show beside the diagonal.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.15)
    if len(class_names) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.4 else INK
                axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
    ticks = range(0, len(class_names), 1 + len(class_names) // 40)
    names = [class_names[tick] for tick in ticks]
    upright = max(map(len, names)) <= 3
    axes.set_xticks(ticks, names, fontsize=9, **({} if upright else {"rotation": 45, "ha": "right"}))
    axes.set_yticks(ticks, names, fontsize=9)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    axes.grid(False)
    axes.spines[:].set_visible(False)
