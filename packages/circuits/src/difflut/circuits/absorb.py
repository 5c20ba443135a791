"""Small tables into the only table that reads them."""

from dataclasses import replace

import numpy as np

from difflut.circuits.circuit import Circuit


def absorb(circuit: Circuit, lut_size: int = 6) -> Circuit:
    """Composes LUTs with their only reader, where the inputs of both fit into one.

    Args:
        lut_size: The most inputs that a composed LUT may have, unless its reader had more.
    """
    first = circuit.num_inputs
    pins = [[pin for pin in row if pin >= 0] for row in circuit.wiring.tolist()]
    tables = [circuit.connected_table(lut) for lut in range(circuit.num_luts)]
    read = circuit.wiring >= 0
    readers = np.bincount(circuit.wiring[read], minlength=circuit.num_signals)
    readers += 2 * np.bincount(circuit.outputs, minlength=circuit.num_signals)  # what is counted stays
    reader = np.zeros(circuit.num_signals, np.intp)
    reader[circuit.wiring[read]] = np.nonzero(read)[0]
    kept = np.ones(circuit.num_luts, bool)
    for lut in range(circuit.num_luts):
        if readers[first + lut] != 1:
            continue
        into = reader[first + lut]
        others = [pin for pin in pins[into] if pin != first + lut]
        union = list(dict.fromkeys(others + pins[lut]))
        if len(union) > max(lut_size, len(pins[into])):
            continue
        tables[into] = _compose(tables[into], pins[into], tables[lut], pins[lut], first + lut, union)
        for pin in pins[lut]:
            readers[pin] -= pin in others
            reader[pin] = into
        pins[into], kept[lut] = union, False
    return _assemble(circuit, pins, tables, kept)


def _compose(
    outer: np.ndarray, outer_pins: list[int], inner: np.ndarray, inner_pins: list[int], signal: int, union: list[int]
) -> np.ndarray:
    """The table over `union` of the LUT `outer`, which reads the output `signal` of `inner`."""
    addresses = np.arange(2 ** len(union))
    values = {pin: addresses >> position & 1 for position, pin in enumerate(union)}
    inner_addresses = sum((values[pin] << position for position, pin in enumerate(inner_pins)), 0 * addresses)
    values[signal] = inner[inner_addresses].astype(np.intp)
    return outer[sum(values[pin] << position for position, pin in enumerate(outer_pins))]


def _assemble(circuit: Circuit, pins: list[list[int]], tables: list[np.ndarray], kept: np.ndarray) -> Circuit:
    number = np.concatenate([np.arange(circuit.num_inputs), circuit.num_inputs + np.cumsum(kept) - 1])
    n = max((len(pins[lut]) for lut in np.flatnonzero(kept)), default=0)
    wiring, padded = np.full((kept.sum(), n), -1), np.empty((kept.sum(), 2**n), bool)
    for row, lut in enumerate(np.flatnonzero(kept)):
        wiring[row, : len(pins[lut])] = number[pins[lut]]
        padded[row] = np.tile(tables[lut], 2 ** (n - len(pins[lut])))
    outputs = number[circuit.outputs]
    return replace(circuit, wiring=wiring, tables=padded, layers=circuit.layers[kept], outputs=outputs)
