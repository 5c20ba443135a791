"""Passes that use what never occurs, as the encoder gives only some codes: addresses, and signals that differ."""

from dataclasses import replace

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.passes.rewrite import first_equal, shared, substitute, unchanged
from difflut.circuits.passes.windows import Windows

SAMPLES = 1024
MOST_LUTS = 50_000  # states are enumerated LUT by LUT, half a millisecond each: larger circuits stay as they are


def drop_unreachable(circuit: Circuit) -> Circuit:
    """Drops inputs on which a table does not depend at any address that can occur.

    In a thermometer code a bit implies those below it, so a table that reads two bits of a feature never sees a quarter
    of its addresses; tables of one layer that share features restrict those of the next.
    """
    if circuit.num_luts > MOST_LUTS:
        return circuit
    windows, wiring, table_of = Windows(circuit), circuit.wiring.copy(), circuit.table_of.copy()
    narrowed: list[np.ndarray] = []
    for lut, pins in enumerate(windows.pins):
        possible = windows.possible_addresses(lut)
        if not possible.all():
            kept, table = _needed(circuit.connected_table(lut), possible)
            wiring[lut] = -1
            wiring[lut, : len(kept)] = [pins[position] for position in kept]
            table_of[lut] = len(circuit.tables) + len(narrowed)
            narrowed.append(np.tile(table, circuit.tables.shape[1] // len(table)))
    tables = np.concatenate([circuit.tables, np.array(narrowed, bool).reshape(-1, circuit.tables.shape[1])])
    return shared(circuit, wiring, tables, table_of)


def _needed(table: np.ndarray, possible: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The inputs that matter at possible addresses, and the table over these."""
    kept: list[int] = []
    for position in range(len(table).bit_length() - 1):
        pin = len(kept)
        (low, high), (low_possible, high_possible) = (
            np.moveaxis(entries.reshape(-1, 2, 2**pin), 1, 0) for entries in (table, possible)
        )
        if (low_possible & high_possible & (low != high)).any():
            kept.append(position)
        else:
            table = np.where(low_possible, low, high).reshape(-1)
            possible = (low_possible | high_possible).reshape(-1)
    return kept, table


def merge_equivalent(circuit: Circuit) -> Circuit:
    """Merges signals that are always equal or always inverse, whatever they read.

    Signals that are so on random levels are compared in all states that decide them.
    """
    if circuit.num_luts > MOST_LUTS:
        return circuit
    windows = Windows(circuit)
    values = circuit.signals(_random_inputs(circuit))
    start = values[:, 0]
    first = first_equal(values ^ start[:, None])
    target, flip = unchanged(circuit)
    for signal in (
        np.flatnonzero(first[circuit.num_inputs :] != target[circuit.num_inputs :]) + circuit.num_inputs
    ).tolist():
        pair = [int(first[signal]), signal]
        if windows.num_states(windows.leaves(pair)) <= windows.max_states:
            one, other = windows.values(pair)
            if (one ^ other == one[0] ^ other[0]).all():
                target[signal], flip[signal] = pair[0], bool(one[0] ^ other[0])
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
