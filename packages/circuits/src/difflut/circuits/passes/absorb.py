"""Composing small tables with those that read them."""

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.passes.drop import drop_inputs
from difflut.circuits.passes.rewrite import ROWS, addresses, keep, shared

EDGES = 2**17  # pairs of a LUT and a reader that are handled together, which bounds the memory
INNER, NONE = 126, 127  # where an outer pin is no pin of the union: it reads the inner LUT, or nothing


def absorb(circuit: Circuit, lut_size: int = 6) -> Circuit:
    """Composes LUTs with their readers, where the inputs of both fit into each of these.

    LUTs with one reader come first, then all others: a LUT that all its readers compute themselves is one less, too.

    Args:
        lut_size: The most inputs that a composed LUT may have, unless its reader had more.
    """
    absorber = _Absorber(drop_inputs(circuit), lut_size)
    for most in (1, circuit.num_luts):
        for luts in absorber.circuit.layer_slices()[:-1]:
            while absorber.absorb_some(luts, most):
                pass
    return absorber.result()


class _Absorber:
    """A circuit under change. LUTs of a layer do not read each other, so many of them are absorbed at once."""

    def __init__(self, circuit: Circuit, lut_size: int) -> None:
        n = circuit.wiring.shape[1]
        unused = max(lut_size - n, 0)
        self.circuit, self.lut_size = circuit, lut_size
        self.wiring = np.pad(circuit.wiring, ((0, 0), (0, unused)), constant_values=-1)
        self.tables, self.table_of = np.tile(circuit.tables, (1, 2**unused)), circuit.table_of.astype(np.int64)
        self.kept = np.ones(circuit.num_luts, bool)
        self.counted = np.zeros(circuit.num_signals, bool)
        self.counted[circuit.outputs] = True
        # Of two LUTs with a common reader one has to wait; in a random order few rounds are enough.
        self.order = np.random.default_rng(0).permutation(circuit.num_luts)

    def absorb_some(self, luts: slice, most: int) -> bool:
        """Absorbs LUTs of a layer with at most so many readers, no two with a reader in common."""
        readers, inner = self._edges(luts, most)
        refused = np.zeros(self.circuit.num_luts, bool)
        refused[inner[~self._fit(readers, inner)]] = True
        fits = ~refused[inner]
        readers, inner = readers[fits], inner[fits]
        turn = np.full(self.circuit.num_luts, self.circuit.num_luts)
        np.minimum.at(turn, readers, self.order[inner])
        refused[inner[turn[readers] != self.order[inner]]] = True
        taken = ~refused[inner]
        readers, inner = readers[taken], inner[taken]
        for start in range(0, len(inner), EDGES):
            self._compose(readers[start : start + EDGES], inner[start : start + EDGES])
        self.kept[inner] = False
        return len(inner) > 0

    def result(self) -> Circuit:
        return keep(shared(self.circuit, self.wiring, self.tables, self.table_of), self.kept)

    def _edges(self, luts: slice, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Readers and what they read of LUTs that are not counted and have at most so many of them.

        An absorbed LUT is none of them, so that there are no more rounds than LUTs.
        """
        first, last = self.circuit.num_inputs + luts.start, self.circuit.num_inputs + luts.stop
        above = self.wiring[luts.stop :]
        rows, pins = np.nonzero((above >= first) & (above < last) & self.kept[luts.stop :, None])
        read = above[rows, pins]
        few = (np.bincount(read - first, minlength=last - first) <= most) & ~self.counted[first:last] & self.kept[luts]
        chosen = few[read - first]
        return rows[chosen] + luts.stop, read[chosen] - self.circuit.num_inputs

    def _fit(self, readers: np.ndarray, inner: np.ndarray) -> np.ndarray:
        """Whether the pins of both are few enough."""
        fit = np.empty(len(readers), bool)
        for start in range(0, len(readers), EDGES):
            part = slice(start, start + EDGES)
            outer_pins, inner_pins = self.wiring[readers[part]], self.wiring[inner[part]]
            common = (outer_pins[:, :, None] == inner_pins[:, None]).any(1)
            arity = (outer_pins >= 0).sum(1)
            size = arity - 1 + ((inner_pins >= 0) & ~common).sum(1)
            fit[part] = size <= np.maximum(arity, self.lut_size)
        return fit

    def _compose(self, readers: np.ndarray, inner: np.ndarray) -> None:
        """Puts each inner LUT into its reader, the pins of both ascending."""
        n = self.wiring.shape[1]
        outer_pins = self.wiring[readers]
        through = outer_pins == self.circuit.num_inputs + inner[:, None]
        pins = np.concatenate([np.where(through, -1, outer_pins), self.wiring[inner]], axis=1)
        order = np.argsort(pins, axis=1)
        ascending = np.take_along_axis(pins, order, 1)
        new = (np.diff(ascending, axis=1, prepend=-1) != 0) & (ascending >= 0)
        rank, position = new.cumsum(1) - 1, np.empty_like(order)
        np.put_along_axis(position, order, np.where(ascending >= 0, rank, NONE), 1)
        position[:, :n][through] = INNER
        self.wiring[readers] = -1
        rows, columns = np.nonzero(new)
        self.wiring[readers[rows], rank[rows, columns]] = ascending[rows, columns]
        position = position.astype(np.int8)
        first, which = distinct(self.table_of[readers], self.table_of[inner], position)
        parts = [self.tables]
        for start in range(0, len(first), ROWS):
            parts.append(
                self._composed(*(indices[first[start : start + ROWS]] for indices in (readers, inner, position)))
            )
        self.table_of[readers] = len(self.tables) + which
        self.tables = np.concatenate(parts)

    def _composed(self, readers: np.ndarray, inner: np.ndarray, position: np.ndarray) -> np.ndarray:
        """The tables of readers with the inner LUT in them, given where each pin of both is in the union."""
        n = self.wiring.shape[1]
        outer_sources, inner_sources = (
            np.where(position < n, 2 * position, -2)[:, :n],
            np.where(position < n, 2 * position, -2)[:, n:],
        )
        inside = np.take_along_axis(self.tables[self.table_of[inner]], addresses(inner_sources, n), 1)
        old = addresses(outer_sources, n)
        for pin in range(n):
            old |= (inside & (position[:, pin, None] == INNER)).astype(np.intp) << pin
        return np.take_along_axis(self.tables[self.table_of[readers]], old, 1)
