"""The arrays of a circuit from a network: every layer at every placement, tables shared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from difflut.circuits.circuit.rows import distinct

if TYPE_CHECKING:
    from difflut.layers import HardLayer
    from difflut.models import LUTNetwork
    from difflut.models.network import Stage

ENCODER = -1  # as a source of a layer


def arrays_of(model: "LUTNetwork") -> dict[str, Any]:
    """Encoder, LUTs and head of a network, as the fields of a circuit.

    Raises:
        ValueError: The network has no group sum, or its encoder is not fitted.
    """
    if model.groupsum is None:
        raise ValueError("a circuit counts ones by class, but the network has no GroupSum; give it one")
    stages, order = model.hard(), model.bit_order()
    encoded = _encoded_size(stages)
    luts = _Luts(np.arange(encoded) if order is None else order.cpu().numpy())
    for layer, sources in stages:
        luts.add(layer, sources)
    heads = [luts.signals[source] for source in model.head_sources]
    outputs = np.concatenate(heads)
    return {
        **_encoder(model, encoded),
        **luts.arrays(),
        "outputs": outputs,
        "inverted": np.zeros(len(outputs), bool),
        "groups": model.groupsum.groups(*map(len, heads)).cpu().numpy(),
        "bias": np.zeros(model.groupsum.k, np.int64),
        "tau": model.groupsum.present_tau,
    }


class _Luts:
    """The LUTs of the layers so far.

    Attributes:
        signals: Those of each layer, by its number, in the order of its outputs; at `ENCODER` its bits.
    """

    def __init__(self, encoded: np.ndarray) -> None:
        self.signals = {ENCODER: encoded}
        self._wirings: list[np.ndarray] = []
        self._tables: list[np.ndarray] = []
        self._tables_of: list[np.ndarray] = []
        self._layers: list[np.ndarray] = []

    def add(self, layer: "HardLayer", sources: Sequence[int]) -> None:
        """Adds the next layer, which reads the outputs of these, one behind the other."""
        source = np.concatenate([self.signals[number] for number in sources])
        tables = layer.tables.cpu().numpy()  # (L, m, 2**n)
        rows = layer.placements.rows(layer.wiring).cpu().numpy().swapaxes(1, 2)  # (L, P, n)
        (nodes, placements, n), outputs = rows.shape, tables.shape[1]
        wiring = np.where(rows < 0, -1, source[rows])
        tables, which = _at_borders(tables, (rows < 0) @ (1 << np.arange(n)))
        table_of = which[:, None] * outputs + np.arange(outputs)[:, None]  # (L, m, P)
        wiring = np.broadcast_to(wiring[:, None], (nodes, outputs, placements, n)).reshape(-1, n)
        first = len(self.signals[ENCODER]) + sum(map(len, self._wirings))
        self.signals[len(self._wirings)] = first + np.arange(len(wiring))
        self._tables_of.append(table_of.reshape(-1) + sum(map(len, self._tables)))
        self._wirings.append(wiring.astype(np.int32))
        self._tables.append(tables)

    def arrays(self) -> dict[str, np.ndarray]:
        """Layers of few inputs are given as many as the others have."""
        width = max(wiring.shape[1] for wiring in self._wirings)
        wirings = [np.pad(of, ((0, 0), (0, width - of.shape[1])), constant_values=-1) for of in self._wirings]
        tables = np.concatenate([np.tile(of, (1, 2**width // of.shape[1])) for of in self._tables])
        first, which = distinct(tables)
        return {
            "wiring": np.concatenate(wirings),
            "tables": tables[first],
            "table_of": which[np.concatenate(self._tables_of)].astype(np.int32),
            "layers": np.repeat(np.arange(len(wirings)), [len(wiring) for wiring in wirings]),
        }


def _at_borders(tables: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tables of nodes whose pins outside the image read 0: one for each set of such pins that occurs.

    Args:
        tables: `(L, m, 2**n)`.
        outside: The pins outside of each node at each placement, as bits of a number: `(L, P)`.

    Returns:
        The tables `(different, m, 2**n)`, as rows, and which of them a node has at each placement: `(L, P)`.
    """
    size = tables.shape[2]
    keys, which = np.unique(np.arange(len(tables))[:, None] * size + outside, return_inverse=True)
    node, pins = np.divmod(keys, size)
    addresses = np.arange(size) & ~pins[:, None]
    tables = np.take_along_axis(tables[node], addresses[:, None], 2)
    return tables.reshape(-1, size), which.reshape(outside.shape)


def _encoded_size(stages: Sequence["Stage"]) -> int:
    """Bits of the encoder, as the layers that read it have it."""
    sizes = [layer.num_lookups for layer, _ in stages]
    layer, sources = next(stage for stage in stages if ENCODER in stage.sources)
    others = sum(sizes[number] for number in sources if number != ENCODER)
    return (layer.placements.features - others) // sources.count(ENCODER)


def _encoder(model: "LUTNetwork", size: int) -> dict[str, np.ndarray]:
    """Thresholds and code book; where inputs are bits, `x >= 1/2` as `x >` the float32 just below 1/2."""
    encoder = model.encoder
    if encoder is None:
        below_half = np.nextafter(np.float32(0.5), np.float32(0))
        return {"thresholds": np.full((size, 1), below_half), "codebook": np.array([[False], [True]])}
    if not encoder.fitted:
        raise ValueError(f"{type(encoder).__name__} is not fitted; call encoder.fit(training_inputs) first")
    thresholds = encoder.thresholds.cpu().numpy()
    thresholds = np.broadcast_to(thresholds, (size // encoder.num_bits, thresholds.shape[1])).copy()
    return {"thresholds": thresholds, "codebook": encoder.codebook.cpu().numpy().astype(bool)}
