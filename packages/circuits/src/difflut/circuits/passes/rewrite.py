"""How passes change a circuit: each says what becomes of each signal or pin, and the tables are rewritten.

LUTs that share a table and change in the same way share the new one, so a convolution's placements cost as much as one.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct

ROWS = 2**15  # tables that are rewritten together, so that their addresses take some ten megabytes


def unchanged(circuit: Circuit) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(circuit.num_signals), np.zeros(circuit.num_signals, bool)


def first_equal(*columns: np.ndarray) -> np.ndarray:
    """For each row the index of the first row equal to it."""
    first, which = distinct(*columns)
    return first[which]


def shared(circuit: Circuit, wiring: np.ndarray, tables: np.ndarray, table_of: np.ndarray, **others: Any) -> Circuit:
    """The circuit with LUTs (and others of its arrays) as given, equal tables stored once and none that no LUT has."""
    used, table_of = np.unique(table_of, return_inverse=True)
    first, which = distinct(tables[used])
    return replace(circuit, wiring=wiring, tables=tables[used][first], table_of=which[table_of], **others)


def rewire(circuit: Circuit, wiring: np.ndarray, sources: np.ndarray) -> Circuit:
    """Connects LUTs anew and rewrites their tables to compute the same.

    Args:
        wiring: The signals of the new pins: `(luts, new pins)`.
        sources: What each pin so far has become: `(luts, n)`, twice the new pin, plus 1 where it is inverted; -2 is the
            constant 0 and -1 the constant 1.
    """
    n = wiring.shape[1]
    sources = sources.astype(np.int8)
    if n == circuit.wiring.shape[1]:
        changed, tables = np.flatnonzero((sources != 2 * np.arange(n)).any(1)), circuit.tables
        if not len(changed):
            return replace(circuit, wiring=wiring)
    else:
        changed, tables = np.arange(circuit.num_luts), np.zeros((0, 2**n), bool)
    first, which = distinct(circuit.table_of[changed], sources[changed])
    table_of = circuit.table_of.astype(np.int64)
    table_of[changed] = len(tables) + which
    parts = [tables]
    for start in range(0, len(first), ROWS):
        lut = changed[first[start : start + ROWS]]
        parts.append(np.take_along_axis(circuit.tables[circuit.table_of[lut]], addresses(sources[lut], n), 1))
    return shared(circuit, wiring, np.concatenate(parts), table_of)


def addresses(sources: np.ndarray, n: int) -> np.ndarray:
    """The old address for each address of `n` new pins: `(rows, pins)` sources, as for `rewire`, to `(rows, 2**n)`."""
    new = np.append(np.arange(2**n)[:, None] >> np.arange(n) & 1, np.zeros((2**n, 1), np.intp), 1)  # the last: -1
    old = np.zeros((len(sources), 2**n), np.intp)
    for pin, source in enumerate(sources.T):
        old |= (new.T[source >> 1] ^ (source & 1)[:, None]) << pin
    return old


def compact(circuit: Circuit) -> Circuit:
    """The same LUTs with their connected pins first, and no more pins than one of them has."""
    n = int((circuit.wiring >= 0).sum(1).max(initial=0))
    order = np.argsort(circuit.wiring < 0, axis=1, kind="stable")
    position = np.argsort(order, axis=1)
    wiring = np.take_along_axis(circuit.wiring, order, 1)[:, :n]
    return rewire(circuit, wiring, np.where(position < n, 2 * position, -2))


def substitute(circuit: Circuit, target: np.ndarray, flip: np.ndarray) -> Circuit:
    """Lets readers of signal `s` read `target[s]`, inverted where `flip[s]`, and removes LUTs that are replaced.

    A target of -1 is the constant 0, or 1 where flipped. Targets may have targets themselves.
    """
    if (target == np.arange(len(target))).all():
        return circuit
    while (moved := (target >= 0) & (target[target] != target)).any():
        through = target[moved]
        target[moved], flip[moved] = target[through], flip[moved] ^ flip[through]
    used = circuit.wiring >= 0
    wiring, ones = np.where(used, target[circuit.wiring], -1), used & flip[circuit.wiring]
    pins = np.where(used & (wiring < 0), -1, np.arange(wiring.shape[1]))
    outputs, inverted = target[circuit.outputs], circuit.inverted ^ flip[circuit.outputs]
    counted = outputs >= 0
    bias = circuit.bias + np.bincount(circuit.groups[~counted & inverted], minlength=circuit.num_classes)
    circuit = replace(rewire(circuit, wiring, 2 * pins + ones), bias=bias, outputs=outputs[counted],
                      inverted=inverted[counted], groups=circuit.groups[counted])  # fmt: skip
    return keep(circuit, (target == np.arange(len(target)))[circuit.num_inputs :])


def keep(circuit: Circuit, kept: np.ndarray) -> Circuit:
    """The circuit of the LUTs `kept`, which read none of the others."""
    if kept.all():
        return circuit
    number = np.concatenate([np.arange(circuit.num_inputs), circuit.num_inputs + np.cumsum(kept) - 1])
    wiring, (used, table_of) = circuit.wiring[kept], np.unique(circuit.table_of[kept], return_inverse=True)
    return replace(
        circuit,
        wiring=np.where(wiring < 0, -1, number[wiring]),
        tables=circuit.tables[used],
        table_of=table_of,
        layers=circuit.layers[kept],
        outputs=number[circuit.outputs],
    )


def depends(tables: np.ndarray) -> np.ndarray:
    """Which address bits each table depends on: `(tables, 2**n)` to `(tables, n)` booleans."""
    size, n = len(tables), tables.shape[1].bit_length() - 1
    halves = [np.moveaxis(tables.reshape(size, 2 ** (n - 1 - pin), 2, 2**pin), 2, 0) for pin in range(n)]
    return np.array([(low != high).any((1, 2)) for low, high in halves], bool).reshape(n, size).T
