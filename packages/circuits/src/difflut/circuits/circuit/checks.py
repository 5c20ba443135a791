"""Checks of the arrays of a circuit; each error says what must hold."""

from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits.circuit.sums import EXACT, WeightedSums

if TYPE_CHECKING:
    from difflut.circuits.circuit.circuit import Circuit


# Above these numbers no circuit is meant; memory is taken by them before arrays of that size are there.
MOST_PINS = 16
MOST_LAYERS = 2**20
MOST_PIXELS = 2**22
COUNTED = 2**31  # signals are numbered, and votes counted, in 32 bits


def check(circuit: "Circuit") -> None:
    """Refuses arrays that are no circuit.

    Raises:
        ValueError: An array has another shape or type than the others ask for, or an entry is out of its range.
    """
    _check_encoder(circuit)
    if circuit.sums is not None:
        _check_sums(circuit.sums, len(circuit.thresholds))
    _check_luts(circuit)
    _check_head(circuit)


def _check_encoder(circuit: "Circuit") -> None:
    thresholds, codebook = circuit.thresholds, circuit.codebook
    _check_kind("thresholds", thresholds, "f", ("features", "K"))
    _check_kind("codebook", codebook, "b", (thresholds.shape[1] + 1, "bits"))
    if len(wrong := np.flatnonzero(np.isnan(thresholds).any(1))):
        raise ValueError(f"thresholds of feature {wrong[0]} are NaN; every threshold must be a number")
    if len(wrong := np.flatnonzero((thresholds[:, 1:] < thresholds[:, :-1]).any(1))):
        raise ValueError(f"thresholds of feature {wrong[0]} descend; they must ascend: {thresholds[wrong[0]].tolist()}")
    if thresholds.dtype != np.float32:
        raise ValueError(f"thresholds must be float32, as which every back end compares, got {thresholds.dtype}")


def _check_sums(sums: WeightedSums, features: int) -> None:
    """Refuses arrays that are no sums of pixels, or not for so many features."""
    if not 1 <= sums.inputs <= MOST_PIXELS:
        raise ValueError(f"sums.inputs is {sums.inputs}; a sample has 1 to {MOST_PIXELS} pixels")
    sources, weights = sums.sources, sums.weights
    _check_kind("sums.sources", sources, "i", ("sums", "terms"))
    _check_kind("sums.weights", weights, "i", sources.shape)
    _check_kind("sums.features", sums.features, "i", (features,), "as many thresholds")
    before = sums.inputs + np.arange(len(sources))
    if len(wrong := np.flatnonzero(((sources < -1) | (sources >= before[:, None])).any(1))):
        raise ValueError(
            f"sum {wrong[0]} adds {sources[wrong[0]].tolist()}; it may add values before it, 0 to "
            f"{before[wrong[0]] - 1}, or -1 for none"
        )
    _check_range("sums.features", sums.features, 0, sums.inputs + len(sources), "pixels and sums")
    most = np.abs(sums.ranges).max(0)
    if len(wrong := np.flatnonzero(most >= EXACT)):
        raise ValueError(f"sum {wrong[0] - sums.inputs} may be {most[wrong[0]]:.0f}; float32 is exact below {EXACT}")


def _check_luts(circuit: "Circuit") -> None:
    wiring, tables, table_of, layers = circuit.wiring, circuit.tables, circuit.table_of, circuit.layers
    _check_kind("wiring", wiring, "i", ("luts", "n"))
    luts, n = wiring.shape
    if n > MOST_PINS:
        raise ValueError(f"wiring has n={n} inputs of a LUT, whose table has 2**n entries; there may be {MOST_PINS}")
    if circuit.num_signals >= COUNTED:
        raise ValueError(f"there are {circuit.num_signals} signals; they are numbered below {COUNTED}")
    _check_kind("tables", tables, "b", ("tables", 2**n), f"n={n} inputs")
    _check_kind("table_of", table_of, "i", (luts,))
    _check_kind("layers", layers, "i", (luts,))
    _check_range("table_of", table_of, 0, len(tables), "tables")
    if len(wrong := np.flatnonzero(np.diff(layers, prepend=0) < 0)):
        raise ValueError(f"layers must ascend from 0 on, LUT {wrong[0]} is of layer {layers[wrong[0]]}")
    if luts and layers[-1] >= MOST_LAYERS:
        raise ValueError(f"LUT {luts - 1} is of layer {layers[-1]}; layers are numbered below {MOST_LAYERS}")
    below = circuit.num_inputs + np.searchsorted(layers, layers)  # signals below this one are of lower layers
    if len(wrong := np.flatnonzero(((wiring < -1) | (wiring >= below[:, None])).any(1))):
        lut = wrong[0]
        raise ValueError(
            f"LUT {lut} of layer {layers[lut]} reads {wiring[lut].tolist()}; "
            f"it may read signals of lower layers, 0 to {below[lut] - 1}, or -1 for no input"
        )
    for pin in range(n):
        without = np.zeros(len(tables), bool)
        without[table_of[wiring[:, pin] < 0]] = True
        low, high = np.moveaxis(tables[without].reshape(-1, 2 ** (n - 1 - pin), 2, 2**pin), 2, 0)
        if len(wrong := np.flatnonzero((low != high).any((1, 2)))):
            table = np.flatnonzero(without)[wrong[0]]
            raise ValueError(
                f"table {table} depends on address bit {pin}, for which a LUT with this table has no input"
            )


def _check_head(circuit: "Circuit") -> None:
    outputs, bias = circuit.outputs, circuit.bias
    _check_kind("outputs", outputs, "i", ("outputs",))
    _check_kind("inverted", circuit.inverted, "b", (len(outputs),))
    _check_kind("groups", circuit.groups, "i", (len(outputs),))
    _check_kind("bias", bias, "i", ("classes",))
    if not len(bias):
        raise ValueError("bias has no entry, but a circuit has at least one class")
    _check_range("outputs", outputs, 0, circuit.num_signals, "signals")
    _check_range("groups", circuit.groups, 0, len(bias), "classes")
    most = np.abs(bias.astype(float)) + np.bincount(circuit.groups, minlength=len(bias))
    if len(wrong := np.flatnonzero(most >= COUNTED)):
        raise ValueError(f"bias[{wrong[0]}] is {bias[wrong[0]]}; votes, the bias included, are counted below {COUNTED}")
    with np.errstate(over="ignore"):
        tau = np.float32(circuit.tau)
    if not (np.isfinite(tau) and tau > 0):
        raise ValueError(f"tau={circuit.tau} must be positive and finite in float32, since counts are divided by it")


def _check_kind(name: str, array: np.ndarray, kind: str, shape: tuple[str | int, ...], why: str = "") -> None:
    """Compares type and shape; names in `shape` stand for any number."""
    what = {"b": "booleans", "f": "floats", "i": "integers"}[kind]
    sizes = getattr(array, "shape", None)
    fits = sizes is not None and len(sizes) == len(shape)
    fits = fits and all(isinstance(size, str) or size == got for size, got in zip(shape, sizes or (), strict=True))
    if not fits or array.dtype.kind != kind:
        expected = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        got = f"{array.dtype} {sizes}" if sizes is not None else repr(array)
        raise ValueError(f"{name} must be {expected} {what}{f' for {why}' if why else ''}, got {got}")


def _check_range(name: str, array: np.ndarray, low: int, high: int, what: str) -> None:
    if len(wrong := np.flatnonzero((array < low) | (array >= high))):
        raise ValueError(f"{name}[{wrong[0]}] is {array[wrong[0]]}, but there are {high} {what}")
