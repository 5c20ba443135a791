"""The hard network as a value: thresholds and a netlist of truth tables as arrays, independent of torch."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from difflut.circuits.circuit.checks import MOST_PINS, check
from difflut.circuits.circuit.evaluation import block_size, count_ones, packed_inputs, packed_signals, unpacked
from difflut.circuits.circuit.files import read_arrays, write_arrays
from difflut.circuits.circuit.networks import arrays_of
from difflut.circuits.circuit.sums import WeightedSums

if TYPE_CHECKING:
    from difflut.circuits.engine import Engine
    from difflut.models import LUTNetwork

FORMAT = 3
SUMS = "sums_"  # begins the names of its arrays in a file


@dataclass(frozen=True, eq=False)
class Circuit:
    """A trained network as hardware computes it, from real inputs to classes.

    Its signals are numbered: first the bits of the encoder, those of feature 0 first, then the outputs of the LUTs. A
    LUT reads signals of lower layers only, though not necessarily of the layer just before it. LUTs that have the same
    table, as those of a convolution's node at all placements, share one.

    Attributes:
        thresholds: Thresholds of the encoder, ascending: `(features, K)`, float32.
        codebook: The bits of each level, the number of thresholds that an input exceeds: `(K + 1, bits)` booleans.
        wiring: The signals that each LUT reads: `(luts, n)`, least significant address bit first; -1 is no input.
        tables: `(tables, 2**n)` booleans; the entries do not depend on address bits that a LUT has no input for.
        table_of: The table of each LUT: `(luts,)`.
        layers: The layer of each LUT, ascending: `(luts,)`.
        outputs: The signals that are counted: `(outputs,)`.
        inverted: Whether zeros of an output are counted instead of ones: `(outputs,)` booleans.
        groups: The class that each output counts for: `(outputs,)`.
        bias: Number with which the count of each class begins: `(classes,)` integers.
        tau: Divides the counts to give logits.
        sums: What is compared with the thresholds, where that is not the inputs themselves.

    Raises:
        ValueError: The arrays are no circuit; the error says which and why.
    """

    thresholds: np.ndarray
    codebook: np.ndarray
    wiring: np.ndarray
    tables: np.ndarray
    table_of: np.ndarray
    layers: np.ndarray
    outputs: np.ndarray
    inverted: np.ndarray
    groups: np.ndarray
    bias: np.ndarray
    tau: float
    sums: WeightedSums | None = None

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_model(cls, model: "LUTNetwork") -> "Circuit":
        """Takes encoder, wiring, truth tables and group sum out of a network.

        Raises:
            ValueError: The network has no group sum, or its encoder is not fitted.
        """
        return cls(**arrays_of(model))

    @property
    def sample_size(self) -> int:
        """Numbers of one input sample."""
        return self.sums.inputs if self.sums else self.num_features

    @property
    def num_features(self) -> int:
        """Numbers that are compared with thresholds: those of a sample, unless they are sums."""
        return len(self.thresholds)

    @property
    def num_inputs(self) -> int:
        """Bits of the encoder."""
        return self.num_features * self.codebook.shape[1]

    @property
    def num_luts(self) -> int:
        return len(self.table_of)

    @property
    def num_signals(self) -> int:
        return self.num_inputs + self.num_luts

    @property
    def num_classes(self) -> int:
        return len(self.bias)

    @property
    def max_counts(self) -> np.ndarray:
        """The highest count that each class can have: `(classes,)`."""
        return self.bias + np.bincount(self.groups, minlength=self.num_classes)

    def features(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *sample)` numbers to those that are compared, `(batch, features)` in float32.

        Raises:
            ValueError: A sample has another number of features.
        """
        self.check_samples(np.shape(x))
        return self.sums(x) if self.sums else np.asarray(x, np.float32).reshape(len(x), self.num_features)

    def check_samples(self, shape: Sequence[int]) -> None:
        """Refuses inputs of another number of features than the circuit has: `(batch, *sample)`.

        Raises:
            ValueError: With both numbers.
        """
        if (found := math.prod(shape[1:])) != self.sample_size:
            raise ValueError(f"the circuit has {self.sample_size} features, x has {found}: {tuple(shape)}")

    def encode(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *sample)` numbers to `(batch, features * bits)` booleans; compared as float32, NaN is level 0."""
        return unpacked(packed_inputs(self, x), len(x)).T

    def signals(self, x: np.ndarray) -> np.ndarray:
        """All signals: `(signals, batch)` booleans."""
        size = block_size(self)
        values = np.empty((self.num_signals, len(x)), bool)
        for start in range(0, len(x), size):
            part = x[start : start + size]
            values[:, start : start + size] = unpacked(packed_signals(self, part), len(part))
        return values

    def layer_slices(self) -> list[slice]:
        """The LUTs of each layer that has any."""
        ends = np.flatnonzero(np.diff(self.layers, append=-1)) + 1
        return [slice(*pair) for pair in pairwise([0, *ends.tolist()])]

    def read_inputs(self) -> np.ndarray:
        """The bits of the encoder that LUTs read or that are counted, ascending."""
        read = np.zeros(self.num_inputs, bool)
        for signals in (self.wiring, self.outputs):
            read[signals[(signals >= 0) & (signals < self.num_inputs)]] = True
        return np.flatnonzero(read)

    def connected_table(self, lut: int) -> np.ndarray:
        """The table of a LUT over its `k` connected inputs alone: `(2**k,)`."""
        table = self.tables[self.table_of[lut]]
        for pin in np.flatnonzero(self.wiring[lut] < 0)[::-1].tolist():
            table = table.reshape(-1, 2, 2**pin)[:, 0].reshape(-1)
        return table

    def cell(self, lut: int) -> tuple[int, list[int]]:
        """The `connected_table` as a number, entry `a` in bit `a`, and the signals that its inputs read."""
        bits, pins = np.packbits(self.connected_table(lut), bitorder="little"), self.wiring[lut]
        return int.from_bytes(bits.tobytes(), "little"), pins[pins >= 0].tolist()

    def counts(self, x: np.ndarray) -> np.ndarray:
        """The count of each class: `(batch, classes)` integers."""
        return count_ones(self, x)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The logits of the network in evaluation mode: `(batch, classes)`, float32."""
        return self.counts(x).astype(np.float32) / np.float32(self.tau)

    def classes(self, x: np.ndarray) -> np.ndarray:
        """The class of each input, ties to the lowest: `(batch,)`."""
        return self.counts(x).argmax(1)

    def engine(self, device: str = "cpu", threads: int | None = None) -> "Engine":
        """The circuit made ready to classify many samples fast, with the same results: see `Engine`.

        Args:
            device: "cpu", in numpy where there is no C++ compiler, or "cuda".
            threads: Threads of a CPU; None is one for each core.

        Raises:
            RuntimeError: The device cannot run it.
        """
        from difflut.circuits.engine import make_engine

        return make_engine(self, device, threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a compressed .npz file, tables packed eight entries a byte, with a digest of all of it."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sums"}
        sums = {f"{SUMS}{field.name}": getattr(self.sums, field.name) for field in fields(WeightedSums) if self.sums}
        write_arrays(path, arrays | sums | {"tables": np.packbits(self.tables, axis=1), "format": FORMAT})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Circuit":
        """Reads what `save` wrote.

        Raises:
            OSError: There is no such file.
            ValueError: The file is damaged, no circuit, or of another format.
        """
        try:
            return cls(**_unpacked(**read_arrays(path)))
        except OSError:
            raise
        except Exception as error:  # arrays of another kind raise errors of many kinds
            reason = f"{path}: damaged, or not a circuit of format {FORMAT}; export the run again ({error})"
            raise ValueError(reason) from error


def _unpacked(
    format: np.ndarray, wiring: np.ndarray, tables: np.ndarray, tau: np.ndarray, **others: np.ndarray
) -> dict[str, Any]:
    """The fields of a circuit from the arrays that are saved."""
    if format != FORMAT:
        raise ValueError(f"its format is {format}")
    if wiring.ndim != 2 or wiring.shape[1] > MOST_PINS or tables.shape[1:] != (-(-(2 ** wiring.shape[1]) // 8),):
        raise ValueError(f"tables of shape {tables.shape}, packed, are not those of wiring of shape {wiring.shape}")
    tables = np.unpackbits(tables, axis=1, count=2 ** wiring.shape[1]).astype(bool)
    parts = {name.removeprefix(SUMS): others.pop(name) for name in list(others) if name.startswith(SUMS)}
    sums = WeightedSums(int(parts.pop("inputs")), **parts) if parts else None
    return {"wiring": wiring, "tables": tables, "tau": float(tau), "sums": sums, **others}
