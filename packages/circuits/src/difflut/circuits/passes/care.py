"""Passes that use what never occurs, as the encoder gives only some codes: addresses, and signals that differ."""

from dataclasses import replace

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.evaluation import packed_signals
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.passes.possible import possible_addresses
from difflut.circuits.passes.rewrite import first_equal, shared, substitute, unchanged
from difflut.circuits.passes.windows import ROWS, Windows

SAMPLES = 1024


def drop_unreachable(circuit: Circuit) -> Circuit:
    """Drops inputs on which a table does not depend at any address that can occur.

    In a thermometer code a bit implies those below it, so a table that reads two bits of a feature never sees a quarter
    of its addresses; tables of one layer that share features restrict those of the next.
    """
    possible, windows = np.ones((circuit.num_luts, circuit.tables.shape[1]), bool), Windows(circuit)
    for start in range(0, circuit.num_luts, ROWS):
        luts = np.arange(start, min(start + ROWS, circuit.num_luts))
        possible[luts] = possible_addresses(windows, luts)
    changed = np.flatnonzero(~possible.all(1))
    used, tables = _needed(circuit.tables[circuit.table_of[changed]], possible[changed])
    wiring, table_of = circuit.wiring.copy(), circuit.table_of.astype(np.int64)
    wiring[changed] = np.where(used, wiring[changed], -1)
    table_of[changed] = len(circuit.tables) + np.arange(len(changed))
    return shared(circuit, wiring, np.concatenate([circuit.tables, tables]), table_of)


def _needed(tables: np.ndarray, possible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs that matter at possible addresses, and tables that depend on these alone."""
    n = tables.shape[1].bit_length() - 1
    used = np.zeros((len(tables), n), bool)
    for pin in range(n):
        at = np.arange(2**n)
        low, high = at & ~(1 << pin), at | 1 << pin
        zero, one = possible[:, low], possible[:, high]
        used[:, pin] = (zero & one & (tables[:, low] != tables[:, high])).any(1)
        dropped = ~used[:, pin, None]
        tables = np.where(dropped, np.where(zero, tables[:, low], tables[:, high]), tables)
        possible = np.where(dropped, zero | one, possible)
    return used, tables


def merge_equivalent(circuit: Circuit) -> Circuit:
    """Merges signals that are always equal or always inverse, whatever they read.

    Signals that are so on random levels are compared in all states that decide them.
    """
    # Levels are chosen as if sums were inputs: whether a pair of levels can occur is not asked.
    values = packed_signals(replace(circuit, sums=None), _random_inputs(circuit))
    values ^= -(values[:, :1] & np.uint64(1)).astype(np.int64).view(np.uint64)
    first = first_equal(values)
    target, flip = unchanged(circuit)
    alike = np.flatnonzero((first != target) & (target >= circuit.num_inputs))
    if not len(alike):
        return circuit
    windows, pairs = Windows(circuit), np.column_stack([first[alike], alike])
    window, states = windows.union(pairs)
    few = np.flatnonzero(states <= windows.max_states)
    for rows, (one, other) in windows.values(pairs[few], (window[0][few], window[1][few])):
        inverse = one[:, 0] ^ other[:, 0]
        proven = (one ^ other == inverse[:, None]).all(1)
        merged = pairs[few[rows[proven]]]
        target[merged[:, 1]], flip[merged[:, 1]] = merged[:, 0], inverse[proven].astype(bool)
    return substitute(circuit, target, flip)


def _random_inputs(circuit: Circuit) -> np.ndarray:
    """Inputs whose levels are evenly distributed: `(samples, features)`."""
    highest = np.full((circuit.num_features, 1), np.inf, np.float32)
    values = np.column_stack([circuit.thresholds, highest])
    levels = np.random.default_rng(0).integers(values.shape[1], size=(SAMPLES, circuit.num_features))
    return values[np.arange(circuit.num_features), levels]


def cancel_outputs(circuit: Circuit) -> Circuit:
    """Replaces a signal and its inverse that count for the same class by 1, their sum, in the bias."""
    first, index = distinct(circuit.groups, circuit.outputs)
    ones, zeros = (np.bincount(index[circuit.inverted == side], minlength=len(first)) for side in (False, True))
    both = np.minimum(ones, zeros)
    groups, outputs = circuit.groups[first], circuit.outputs[first]
    counted = [np.repeat(values, often) for often in (ones - both, zeros - both) for values in (outputs, groups)]
    bias = circuit.bias + np.bincount(groups, weights=both, minlength=circuit.num_classes).astype(np.int64)
    outputs, groups = np.concatenate(counted[::2]), np.concatenate(counted[1::2])
    inverted = np.repeat([False, True], [len(counted[0]), len(counted[2])])
    return replace(circuit, outputs=outputs, groups=groups, inverted=inverted, bias=bias)
