"""Pictures of exported circuits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits import Circuit
from experiments.shared.figures import CONSTANT, FAINT, HARD, INK, SATURATED, figure_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 100


def luts_by_layer(before: Sequence[int], after: Sequence[int], path: str | Path) -> Path:
    """Draws the LUTs of each layer before and after simplification."""
    places = np.arange(len(before))
    with figure_at(path, (8, 2 + 0.5 * len(before))) as figure:
        axes = figure.subplots()
        for shift, luts, color, label in ((-0.18, before, FAINT, "before"), (0.18, after, HARD, "after")):
            bars = axes.barh(places + shift, luts, 0.34, color=color, label=label)
            axes.bar_label(bars, [f"{count:,}" for count in luts], padding=3, fontsize=8)
        axes.set(title="LUTs by layer, before and after simplification", ylabel="layer")
        axes.set_yticks(places, [str(place + 1) for place in places])
        axes.set_ylim(len(before) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.grid(axis="x")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return Path(path)


def drawing(circuit: Circuit, path: str | Path) -> Path:
    """Draws a small circuit: bits of the encoder that are read, LUTs, classes and the wires between them.

    Raises:
        ValueError: It has more than 100 LUTs, which no one could tell apart.
    """
    if circuit.num_luts > LARGEST:
        raise ValueError(f"a drawing shows at most {LARGEST} LUTs, the circuit has {circuit.num_luts}")
    places = _places(circuit)
    tallest = max(sum(place[0] == column for place in places.values()) for column, _ in places.values())
    with figure_at(
        path, (2.5 + 2.5 * (circuit.layers.max(initial=0) + 2), 1 + 0.22 * tallest), ("png", "svg")
    ) as figure:
        axes = figure.subplots()
        _draw_wires(axes, circuit, places)
        for signal, place in places.items():
            _draw_signal(axes, circuit, signal, place)
        axes.set_ylim(1, 0)
        axes.set_axis_off()
    return Path(path)


def _places(circuit: Circuit) -> dict[int | str, tuple[float, float]]:
    """Where signals and classes stand: a column for each layer, the order within it that of what is read."""
    read = np.union1d(circuit.wiring, circuit.outputs)
    columns: list[list[int | str]] = [read[(read >= 0) & (read < circuit.num_inputs)].tolist()]
    columns += [(np.arange(rows.start, rows.stop) + circuit.num_inputs).tolist() for rows in circuit.layer_slices()]
    columns.append([f"class {number}" for number in range(circuit.num_classes)])
    places: dict[int | str, tuple[float, float]] = {}
    for column, signals in enumerate(columns):
        if 0 < column < len(columns) - 1:
            sources = {
                signal: [pin for pin in circuit.wiring[int(signal) - circuit.num_inputs] if pin >= 0]
                for signal in signals
            }
            signals = sorted(signals, key=lambda signal: np.mean([places[pin][1] for pin in sources[signal]] or [0]))
        for row, signal in enumerate(signals):
            places[signal] = (column, (row + 0.5) / len(signals))
    return places


def _draw_wires(axes: "Axes", circuit: Circuit, places: dict[int | str, tuple[float, float]]) -> None:
    wires = [
        (places[pin], places[circuit.num_inputs + lut], INK)
        for lut, row in enumerate(circuit.wiring.tolist())
        for pin in row
        if pin >= 0
    ]
    counted = zip(circuit.outputs.tolist(), circuit.groups.tolist(), circuit.inverted.tolist(), strict=True)
    wires += [(places[bit], places[f"class {group}"], CONSTANT if flip else HARD) for bit, group, flip in counted]
    for start, end, color in wires:
        axes.plot(*zip(start, end, strict=True), color=color, linewidth=0.5, alpha=0.5, zorder=1)


def _draw_signal(axes: "Axes", circuit: Circuit, signal: int | str, place: tuple[float, float]) -> None:
    if isinstance(signal, str):
        text, color = signal, HARD
    elif signal < circuit.num_inputs:
        feature, bit = divmod(signal, circuit.codebook.shape[1])
        text, color = f"x{feature} bit {bit}", FAINT
    else:
        init, pins = circuit.cell(signal - circuit.num_inputs)
        text, color = f"{init:0{max(2 ** len(pins) // 4, 1)}x}", SATURATED
    box = {"boxstyle": "round,pad=0.2", "facecolor": color, "edgecolor": "white", "linewidth": 0.5}
    ink = "white" if color == HARD else INK
    axes.text(*place, text, ha="center", va="center", fontsize=6, color=ink, bbox=box, zorder=2)
