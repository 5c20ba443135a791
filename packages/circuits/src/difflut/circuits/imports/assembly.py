"""A circuit built from the layers of another library, one after the other."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.luts import ZERO, Luts
from difflut.circuits.passes.split import LUT_SIZE

BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))  # a bit is `x >= 1/2`


class Assembly:
    """Keeps which signals the next layer reads, in the shape in which it reads them.

    Args:
        shape: Shape of an input, such as `(features,)` or `(channels, height, width)`.
        thresholds: Ascending, of every feature: `(features, K)`. None is for inputs that are bits.

    Attributes:
        signals: First the bits of the features, `(*shape, K)`, of which `x > t` is bit k; without thresholds `shape`.

    Raises:
        ValueError: The thresholds are not those of so many features.
    """

    def __init__(self, shape: Sequence[int], thresholds: Any = None) -> None:
        features = math.prod(shape)
        given = np.full((features, 1), BELOW_HALF) if thresholds is None else _array(thresholds, np.float32)
        if given.ndim != 2 or len(given) != features:
            raise ValueError(
                f"inputs of shape {tuple(shape)} need thresholds ({features}, K), a row for each feature; "
                f"got {given.shape}"
            )
        self._thresholds, self._luts = given, Luts(given.size)
        bits = () if thresholds is None else (given.shape[1],)
        self.signals = np.arange(given.size).reshape(*shape, *bits)

    def look_up(self, pins: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Adds tables, each at all its placements.

        Args:
            pins: Signals `(nodes, placements, n)`, the least significant bit of the address first.
            tables: `(nodes, 2**n)` booleans.

        Returns:
            The signals that they make: `(nodes, placements)`.
        """
        return self._luts.add(pins, tables[:, None])[:, 0]

    def any_of(self, signals: np.ndarray) -> np.ndarray:
        """The logical or along the last axis."""
        while (n := min(signals.shape[-1], LUT_SIZE)) > 1:
            rows, rest = signals[..., :n].reshape(-1, n), signals[..., n:]
            table = np.arange(2**n)[None] > 0
            made = self.look_up(rows[None], table).reshape(*signals.shape[:-1], 1)
            signals = np.concatenate([rest, made], axis=-1)
        return signals[..., 0]

    def circuit(self, classes: int, tau: float, bias: int = 0) -> Circuit:
        """The circuit whose class c counts the c-th part of the present signals, of equal parts in their order.

        Raises:
            ValueError: The signals cannot be divided.
        """
        votes = self.signals.reshape(-1)
        if len(votes) % classes:
            raise ValueError(f"{len(votes)} outputs cannot be divided among {classes} classes")
        groups = np.repeat(np.arange(classes), len(votes) // classes)
        levels = np.arange(self._thresholds.shape[1])
        return Circuit(
            thresholds=self._thresholds,
            codebook=np.arange(len(levels) + 1)[:, None] > levels,
            **self._luts.arrays(),
            outputs=votes[votes != ZERO],
            inverted=np.zeros((votes != ZERO).sum(), bool),
            groups=groups[votes != ZERO],
            bias=np.full(classes, bias),
            tau=float(tau),
        )


def inputs_of(inputs: Any) -> Assembly:
    """Of flat inputs: how many there are, where they are bits, or the thresholds of a thermometer."""
    if isinstance(inputs, int):
        return Assembly((inputs,))
    thresholds = _array(inputs, np.float32)
    made = Assembly((len(thresholds),), thresholds)
    made.signals = made.signals.reshape(-1)
    return made


def checked_wiring(name: str, wiring: Any, nodes: int, inputs: int) -> np.ndarray:
    """A layer's wiring `(nodes, n)`, whose entries are inputs of the layer.

    Raises:
        ValueError: It has another shape, or an input that there is not.
    """
    wiring = _array(wiring, np.int64)
    if wiring.ndim != 2 or len(wiring) != nodes:
        raise ValueError(f"{name} needs a wiring ({nodes}, n), got {wiring.shape}")
    low, high = wiring.min(initial=0), wiring.max(initial=-1)
    if low < 0 or high >= inputs:
        raise ValueError(f"{name} reads input {low if low < 0 else high}, but there are {inputs} before it, from 0 on")
    return wiring


def _array(values: Any, dtype: type[np.generic]) -> np.ndarray:
    """A tensor or an array, on the CPU."""
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return np.asarray(values, dtype)
