"""LUTs that do the same at different places, such as those of one node of a convolution."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct


@dataclass(frozen=True)
class Stencils:
    """The LUTs of a circuit, in groups with one table, whose members read and write at the same distances.

    Member `i` of a stencil writes LUT `first + writes[i]` and reads what the first one reads, `reads[i]` signals on.
    Stencils are in the order of their first LUTs, so those of lower layers come first. Many stencils have the same list
    of places: all nodes of a convolution, but for its borders.

    Attributes:
        first: The first LUT of each: `(stencils,)`.
        list_of: The list of places that each has: `(stencils,)`.
        start: Beginning of each list: `(lists + 1,)`.
        reads: Places that all lists read, one behind the other: `(places,)`.
        writes: Places that all lists write: `(places,)`.
    """

    first: np.ndarray
    list_of: np.ndarray
    start: np.ndarray
    reads: np.ndarray
    writes: np.ndarray


def find_stencils(circuit: Circuit) -> Stencils:
    """Every LUT is a member of one stencil, perhaps its only one."""
    used = circuit.wiring >= 0
    base = np.where(used, circuit.wiring, circuit.num_signals).min(1, initial=circuit.num_signals).astype(np.int64)
    distances = np.where(used, circuit.wiring - base[:, None], -1)
    first, which = distinct(circuit.layers, circuit.table_of, distances)
    order = np.lexsort((np.arange(len(which)), first[which]))
    start = np.flatnonzero(np.diff(first[which[order]], prepend=-1))
    first, count = order[start], np.diff(start, append=len(order))
    reads = base[order] - np.repeat(base[first], count)
    writes = order - np.repeat(first, count)
    same = _equal_lists(start, count, reads, writes)
    used_lists, list_of = np.unique(same, return_inverse=True)
    sizes = count[used_lists]
    kept = np.repeat(start[used_lists] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
    return Stencils(first, list_of, np.append(0, np.cumsum(sizes)), reads[kept], writes[kept])


def _equal_lists(start: np.ndarray, count: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """For each list of rows the first equal list: sums with random weights find it, a comparison confirms it."""
    if not len(start):
        return start
    along = np.arange(count.sum()) - np.repeat(start, count)
    weights = np.random.default_rng(0).integers(2**63, size=(len(columns), int(count.max())), dtype=np.uint64) | 1
    products = sum(column.astype(np.uint64) * weight[along] for column, weight in zip(columns, weights, strict=True))
    firsts, which = distinct(np.add.reduceat(products, start), count)
    first = firsts[which]
    counterpart = np.repeat(start[first], count) + along
    differs = np.zeros(len(along), bool)
    for column in columns:
        differs |= column != column[counterpart]
    return np.where(np.logical_or.reduceat(differs, start), np.arange(len(start)), first)
