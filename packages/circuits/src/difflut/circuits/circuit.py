"""The hard network as a value: thresholds and a netlist of truth tables as arrays, independent of torch."""

import os
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from difflut.circuits.engine import Engine
    from difflut.models import LUTNetwork

FORMAT = 2
BATCH = 1024


@dataclass(frozen=True, eq=False)
class Circuit:
    """A trained network as hardware computes it, from real inputs to classes.

    Its signals are numbered: first the bits of the encoder, those of feature 0 first, then the outputs of the LUTs. A
    LUT reads signals of lower layers only, though not necessarily of the layer just before it.

    Attributes:
        thresholds: Of the encoder, ascending: `(features, K)`, float32.
        codebook: The bits of each level, the number of thresholds that an input exceeds: `(K + 1, bits)` booleans.
        wiring: The signals that each LUT reads: `(luts, n)`, least significant address bit first; -1 is no input.
        tables: `(luts, 2**n)` booleans; the entries do not depend on address bits that have no input.
        layers: The layer of each LUT, ascending: `(luts,)`.
        outputs: The signals that are counted: `(outputs,)`.
        inverted: Whether zeros of an output are counted instead of ones: `(outputs,)` booleans.
        groups: The class that each output counts for: `(outputs,)`.
        bias: What the count of each class begins with: `(classes,)` integers.
        tau: Divides the counts to give logits.
    """

    thresholds: np.ndarray
    codebook: np.ndarray
    wiring: np.ndarray
    tables: np.ndarray
    layers: np.ndarray
    outputs: np.ndarray
    inverted: np.ndarray
    groups: np.ndarray
    bias: np.ndarray
    tau: float

    @classmethod
    def from_model(cls, model: "LUTNetwork") -> "Circuit":
        """Takes encoder, wiring, truth tables and group sum out of a network.

        Raises:
            ValueError: The network has no group sum, or its encoder is not fitted.
        """
        if model.groupsum is None:
            raise ValueError("a circuit counts ones by class, but the network has no GroupSum; give it one")
        thresholds, codebook = _encoder(model)
        first, luts = 0, thresholds.shape[0] * codebook.shape[1]
        width = max(layer.wiring().shape[1] for layer in model.layers)
        wirings, tables, layers = [], [], []
        for number, layer in enumerate(model.layers):
            table = layer.node.truth_table().cpu().numpy()  # (L, m, 2**n)
            wiring = np.repeat(layer.wiring().cpu().numpy(), table.shape[1], axis=0) + first
            table, unused = table.reshape(len(wiring), -1), width - wiring.shape[1]
            wirings.append(np.pad(wiring, ((0, 0), (0, unused)), constant_values=-1))
            tables.append(np.tile(table, (1, 2**unused)))
            layers.append(np.full(len(wiring), number))
            first, luts = luts, luts + len(wiring)
        outputs = np.arange(first, luts)
        groups = model.groupsum.groups(len(outputs)).cpu().numpy()
        return cls(
            thresholds,
            codebook,
            wiring=np.concatenate(wirings),
            tables=np.concatenate(tables),
            layers=np.concatenate(layers),
            outputs=outputs,
            inverted=np.zeros(len(outputs), bool),
            groups=groups,
            bias=np.zeros(model.groupsum.k, np.int64),
            tau=model.groupsum.present_tau,
        )

    @property
    def num_features(self) -> int:
        return len(self.thresholds)

    @property
    def num_inputs(self) -> int:
        """Bits of the encoder."""
        return self.num_features * self.codebook.shape[1]

    @property
    def num_luts(self) -> int:
        return len(self.tables)

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

    def encode(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *features)` numbers to `(batch, features * bits)` booleans; compared as float32, NaN is level 0."""
        x = np.asarray(x, np.float32).reshape(len(x), self.num_features)
        levels = np.zeros(x.shape, np.intp)
        for threshold in self.thresholds.T:
            levels += x > threshold
        return self.codebook[levels].reshape(len(x), -1)

    def signals(self, x: np.ndarray) -> np.ndarray:
        """All signals: `(signals, batch)` booleans."""
        values = np.zeros((self.num_signals, len(x)), bool)
        values[: self.num_inputs] = self.encode(x).T
        for rows in self.layer_slices():
            addresses = np.zeros((rows.stop - rows.start, len(x)), np.intp)
            for pin, sources in enumerate(self.wiring[rows].T):
                addresses |= values[sources].astype(np.intp) << pin
            outputs = slice(self.num_inputs + rows.start, self.num_inputs + rows.stop)
            values[outputs] = np.take_along_axis(self.tables[rows], addresses, 1)
        return values

    def layer_slices(self) -> list[slice]:
        """The LUTs of each layer that has any."""
        ends = np.flatnonzero(np.diff(self.layers, append=-1)) + 1
        return [slice(*pair) for pair in pairwise([0, *ends.tolist()])]

    def connected_table(self, lut: int) -> np.ndarray:
        """The table of a LUT over its `k` connected inputs alone: `(2**k,)`."""
        table = self.tables[lut]
        for pin in np.flatnonzero(self.wiring[lut] < 0)[::-1].tolist():
            table = table.reshape(-1, 2, 2**pin)[:, 0].reshape(-1)
        return table

    def counts(self, x: np.ndarray) -> np.ndarray:
        """The count of each class: `(batch, classes)` integers."""
        members = (self.groups[:, None] == np.arange(self.num_classes)).astype(np.float32)
        counts = np.empty((len(x), self.num_classes), np.int64)
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            ones = self.signals(x[part])[self.outputs] ^ self.inverted[:, None]
            counts[part] = ones.T.astype(np.float32) @ members
        return counts + self.bias

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
            threads: Of a CPU; None is one for each core.

        Raises:
            RuntimeError: The device cannot run it.
        """
        from difflut.circuits.engine import make_engine

        return make_engine(self, device, threads)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a compressed .npz file, tables packed eight entries a byte."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays["tables"] = np.packbits(self.tables)
        with Path(path).open("wb") as file:
            np.savez_compressed(file, format=FORMAT, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Circuit":
        """Reads what `save` wrote.

        Raises:
            OSError: There is no such file.
            ValueError: The file is damaged, no circuit, or of an unknown format.
        """
        with Path(path).open("rb") as file:
            try:
                arrays = dict(np.load(file, allow_pickle=False))
                found = arrays.pop("format", None)
                if found == FORMAT:
                    return cls(**_unpacked(**arrays))
            except Exception as error:  # the archive, its compression and the arrays each have several of their own
                raise ValueError(f"{path}: damaged or not a circuit; export the run again") from error
        raise ValueError(f"{path}: not a circuit of format {FORMAT}, its format is {found}; export the run again")


def _unpacked(wiring: np.ndarray, tables: np.ndarray, tau: np.ndarray, **others: np.ndarray) -> dict[str, Any]:
    """The fields of a circuit from the arrays that are saved."""
    luts, n = wiring.shape
    tables = np.unpackbits(tables, count=luts * 2**n).reshape(luts, 2**n).astype(bool)
    return {"wiring": wiring, "tables": tables, "tau": float(tau), **others}


def _encoder(model: "LUTNetwork") -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and code book; where inputs are bits, `x >= 1/2` as `x >` the float32 just below 1/2."""
    encoder, width = model.encoder, model.layers[0].input_size
    if encoder is None:
        below_half = np.nextafter(np.float32(0.5), np.float32(0))
        return np.full((width, 1), below_half), np.array([[False], [True]])
    if not encoder.fitted:
        raise ValueError(f"{type(encoder).__name__} is not fitted; call encoder.fit(training_inputs) first")
    thresholds = encoder.thresholds.cpu().numpy()
    thresholds = np.broadcast_to(thresholds, (width // encoder.num_bits, thresholds.shape[1])).copy()
    return thresholds, encoder.codebook.cpu().numpy().astype(bool)
