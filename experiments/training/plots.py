"""Figures of a training run as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.shared.figures import CONSTANT, HARD, INK, RELAXED, SATURATED, figure_at, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metrics = Sequence[Mapping[str, float]]


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
    axes.set_xticks(ticks, names, fontsize=9, rotation=0 if upright else 45, ha="center" if upright else "right")
    axes.set_yticks(ticks, names, fontsize=9)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    axes.grid(False)
    axes.spines[:].set_visible(False)
