"""The hard network as a value: thresholds, wiring and truth tables as arrays, independent of torch."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from difflut.models import LUTNetwork

FORMAT = 1


@dataclass(frozen=True)
class LUTLayer:
    """One layer of tables.

    Attributes:
        wiring: Input indices `(L, n)`, least significant address bit first.
        tables: Truth tables `(L, m, 2**n)`, booleans; output `l * m + o` of the layer is table `[l, o]`.
    """

    wiring: np.ndarray
    tables: np.ndarray

    def __call__(self, bits: np.ndarray) -> np.ndarray:
        """`(batch, features)` booleans to `(batch, L * m)`."""
        addresses = np.zeros((len(self.wiring), len(bits)), np.uint8)
        for position, inputs in enumerate(self.wiring.T):
            addresses |= bits.T[inputs].astype(np.uint8) << np.uint8(position)
        outputs = np.take_along_axis(self.tables, addresses[:, None].astype(np.intp), axis=2)  # (L, m, batch)
        return outputs.reshape(-1, len(bits)).T


@dataclass(frozen=True)
class Circuit:
    """A trained network as hardware computes it, from real inputs to classes.

    Attributes:
        thresholds: Of the encoder, ascending: `(features, K)`, float32. Empty where the inputs are bits.
        codebook: The bits of each level, the number of thresholds that an input exceeds: `(K + 1, bits)` booleans.
        layers: From input to output.
        groups: The class of each output of the last layer: `(outputs,)`.
        num_classes: Classes.
        tau: Divides the counts of ones to give logits.
    """

    thresholds: np.ndarray
    codebook: np.ndarray
    layers: Sequence[LUTLayer]
    groups: np.ndarray
    num_classes: int
    tau: float

    @classmethod
    def from_model(cls, model: LUTNetwork) -> "Circuit":
        """Takes encoder, wiring, truth tables and group sum out of a network.

        Raises:
            ValueError: The network has no group sum, or its encoder is not fitted.
        """
        if model.groupsum is None:
            raise ValueError("a circuit counts ones by class, but the network has no GroupSum; give it one")
        encoder, width = model.encoder, model.layers[0].input_size
        if encoder is None:
            thresholds, codebook = np.empty((width, 0), np.float32), np.empty((1, 0), bool)
        elif encoder.fitted:
            thresholds = encoder.thresholds.cpu().numpy()
            thresholds = np.broadcast_to(thresholds, (width // encoder.num_bits, thresholds.shape[1])).copy()
            codebook = encoder.codebook.cpu().numpy().astype(bool)
        else:
            raise ValueError(f"{type(encoder).__name__} is not fitted; call encoder.fit(training_inputs) first")
        layers = [
            LUTLayer(layer.wiring().cpu().numpy(), layer.node.truth_table().cpu().numpy()) for layer in model.layers
        ]
        return cls(thresholds, codebook, layers, model.groupsum.groups(model.layers[-1].output_size).cpu().numpy(),
                   model.groupsum.k, model.groupsum.tau)  # fmt: skip

    @property
    def num_luts(self) -> int:
        """Tables in the circuit, one for each output of each node."""
        return sum(layer.tables.shape[0] * layer.tables.shape[1] for layer in self.layers)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *features)` numbers to `(batch, features * bits)` booleans; compared as float32, NaN is level 0."""
        x = np.asarray(x, np.float32).reshape(len(x), -1)
        if not self.codebook.size:
            return x >= 0.5
        levels = np.zeros(x.shape, np.intp)
        for threshold in self.thresholds.T:
            levels += x > threshold
        return self.codebook[levels].reshape(len(x), -1)

    def counts(self, x: np.ndarray) -> np.ndarray:
        """The number of ones in each class's group: `(batch, classes)` integers."""
        bits = self.encode(x)
        for layer in self.layers:
            bits = layer(bits)
        members = self.groups[:, None] == np.arange(self.num_classes)
        return bits.astype(np.int64) @ members

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The logits of the network in evaluation mode: `(batch, classes)`, float32."""
        return self.counts(x).astype(np.float32) / np.float32(self.tau)

    def classes(self, x: np.ndarray) -> np.ndarray:
        """The class of each input, ties to the lowest: `(batch,)`."""
        return self.counts(x).argmax(1)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a compressed .npz file, tables packed eight entries a byte."""
        arrays = {"format": np.array(FORMAT), "thresholds": self.thresholds, "codebook": self.codebook,
                  "groups": self.groups, "num_classes": np.array(self.num_classes), "tau": np.array(self.tau)}  # fmt: skip
        for number, layer in enumerate(self.layers):
            arrays[f"wiring{number}"] = layer.wiring.astype(np.int32)
            arrays[f"tables{number}"] = np.packbits(layer.tables, axis=None)
            arrays[f"outputs{number}"] = np.array(layer.tables.shape[1])
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Circuit":
        """Reads what `save` wrote.

        Raises:
            ValueError: The file is no circuit, or of an unknown format.
        """
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file) if not isinstance(file, np.ndarray) else {}
        if arrays.get("format") != FORMAT:
            raise ValueError(f"{path}: not a circuit of format {FORMAT}, its format is {arrays.get('format')}")
        layers = []
        while (wiring := arrays.get(f"wiring{len(layers)}")) is not None:
            shape = (len(wiring), int(arrays[f"outputs{len(layers)}"]), 2 ** wiring.shape[1])
            bits = np.unpackbits(arrays[f"tables{len(layers)}"], count=int(np.prod(shape)))
            layers.append(LUTLayer(wiring.astype(np.int64), bits.reshape(shape).astype(bool)))
        return cls(arrays["thresholds"], arrays["codebook"], layers, arrays["groups"],
                   int(arrays["num_classes"]), float(arrays["tau"]))  # fmt: skip
