"""Small tables into those that read them."""

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.rewrite import assemble


def absorb(circuit: Circuit, lut_size: int = 6) -> Circuit:
    """Composes LUTs with their readers, where the inputs of both fit into each of these.

    First LUTs with one reader, then any: what several readers compute for themselves is one LUT less, too.

    Args:
        lut_size: The most inputs that a composed LUT may have, unless its reader had more.
    """
    pins = [[pin for pin in row if pin >= 0] for row in circuit.wiring.tolist()]
    tables = [circuit.connected_table(lut) for lut in range(circuit.num_luts)]
    readers: list[set[int]] = [set() for _ in range(circuit.num_signals)]
    for lut, row in enumerate(pins):
        for pin in row:
            readers[pin].add(lut)
    kept, counted = np.ones(circuit.num_luts, bool), set(circuit.outputs.tolist())
    for most in (1, circuit.num_luts):
        for lut in range(circuit.num_luts):
            signal = circuit.num_inputs + lut
            if not kept[lut] or signal in counted or not 0 < len(readers[signal]) <= most:
                continue
            unions = {into: _union(pins[into], pins[lut], signal) for into in readers[signal]}
            if any(len(union) > max(lut_size, len(pins[into])) for into, union in unions.items()):
                continue
            for into, union in unions.items():
                tables[into] = _compose(tables[into], pins[into], tables[lut], pins[lut], signal, union)
                pins[into] = union
            for pin in pins[lut]:
                readers[pin] = readers[pin] - {lut} | readers[signal]
            kept[lut] = False
    return assemble(circuit, pins, tables, kept)


def _union(outer_pins: list[int], inner_pins: list[int], signal: int) -> list[int]:
    return list(dict.fromkeys([pin for pin in outer_pins if pin != signal] + inner_pins))


def _compose(
    outer: np.ndarray, outer_pins: list[int], inner: np.ndarray, inner_pins: list[int], signal: int, union: list[int]
) -> np.ndarray:
    """The table over `union` of the LUT `outer`, which reads the output `signal` of `inner`."""
    addresses = np.arange(2 ** len(union))
    values = {pin: addresses >> position & 1 for position, pin in enumerate(union)}
    inner_addresses = sum((values[pin] << position for position, pin in enumerate(inner_pins)), 0 * addresses)
    values[signal] = inner[inner_addresses].astype(np.intp)
    return outer[sum(values[pin] << position for position, pin in enumerate(outer_pins))]
