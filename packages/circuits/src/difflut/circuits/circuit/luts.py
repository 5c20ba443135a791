"""The LUTs of a circuit under construction, layer by layer, tables shared."""

from typing import Any

import numpy as np

from difflut.circuits.circuit.rows import distinct

ZERO = -1  # the signal of a pin that reads the constant 0


class Luts:
    """The LUTs so far.

    Args:
        inputs: Bits of the encoder, the signals before those of LUTs.
    """

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._wirings: list[np.ndarray] = []
        self._tables: list[np.ndarray] = []
        self._tables_of: list[np.ndarray] = []

    def add(self, wiring: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Adds a layer of nodes, each with its tables at all its placements.

        Args:
            wiring: The signals that pins read, `ZERO` or those of lower layers: `(nodes, placements, n)`, the least
                significant bit of the address first.
            tables: `(nodes, outputs, 2**n)` booleans.

        Returns:
            The signals that it makes: `(nodes, outputs, placements)`.
        """
        (nodes, placements, n), outputs = wiring.shape, tables.shape[1]
        tables, which = _at_borders(tables, (wiring == ZERO) @ (1 << np.arange(n)))
        table_of = which[:, None] * outputs + np.arange(outputs)[:, None]  # (nodes, outputs, placements)
        wiring = np.broadcast_to(wiring[:, None], (nodes, outputs, placements, n)).reshape(-1, n)
        first = self._inputs + sum(map(len, self._wirings))
        self._tables_of.append(table_of.reshape(-1) + sum(map(len, self._tables)))
        self._wirings.append(wiring.astype(np.int32))
        self._tables.append(tables)
        return first + np.arange(len(wiring)).reshape(nodes, outputs, placements)

    def arrays(self) -> dict[str, Any]:
        """The arrays of all layers; those of few inputs are widened to the most inputs of any layer."""
        width = max(wiring.shape[1] for wiring in self._wirings)
        wirings = [np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=-1) for array in self._wirings]
        tables = np.concatenate([np.tile(array, (1, 2**width // array.shape[1])) for array in self._tables])
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
        tables: `(nodes, outputs, 2**n)`.
        outside: The pins outside of each node at each placement, as bits of a number: `(nodes, placements)`.

    Returns:
        The tables `(different, outputs, 2**n)`, as rows, and which a node has at each placement: `(nodes, placements)`.
    """
    size = tables.shape[2]
    keys, which = np.unique(np.arange(len(tables))[:, None] * size + outside, return_inverse=True)
    node, pins = np.divmod(keys, size)
    addresses = np.arange(size) & ~pins[:, None]
    tables = np.take_along_axis(tables[node], addresses[:, None], 2)
    return tables.reshape(-1, size), which.reshape(outside.shape)
