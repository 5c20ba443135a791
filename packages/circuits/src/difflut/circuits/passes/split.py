"""Tables with more inputs than a LUT of the hardware has, as trees of LUTs."""

from dataclasses import replace

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.rewrite import assemble

LUT_SIZE = 6


def split(circuit: Circuit, lut_size: int = LUT_SIZE) -> Circuit:
    """Takes tables of more than `lut_size` inputs apart, by their highest inputs, until each fits into a LUT.

    A table of `k` inputs becomes one of the highest that choose among smaller ones, which are those of all values of
    the highest; equal ones are built once. The levels of such a tree are layers of their own.

    Raises:
        ValueError: `lut_size` is less than 3, the inputs of a multiplexer.
    """
    if lut_size < 3:
        raise ValueError(f"lut_size={lut_size} must be at least 3, since a multiplexer has three inputs")
    while (wide := (circuit.wiring >= 0).sum(1) > lut_size).any():
        circuit = _split_once(circuit, wide, lut_size)
    return circuit


def _split_once(circuit: Circuit, wide: np.ndarray, lut_size: int) -> Circuit:
    """Each wide table becomes smaller ones and a multiplexer of at most `lut_size` inputs."""
    select = max(bits for bits in range(1, lut_size) if bits + 2**bits <= lut_size)
    parts: list[tuple[int, list[int | tuple[int, int]], np.ndarray]] = []  # layer, pins, table
    number = np.empty(circuit.num_luts, np.intp)  # of each old LUT, among the parts
    for lut in range(circuit.num_luts):
        pins = [pin for pin in circuit.wiring[lut].tolist() if pin >= 0]
        table, layer = circuit.connected_table(lut), 2 * int(circuit.layers[lut])
        if wide[lut]:
            rows, which = np.unique(table.reshape(2**select, -1), axis=0, return_inverse=True)
            first = len(parts)
            parts += [(layer, pins[:-select], row) for row in rows]
            pins = [(first + part, 0) for part in range(len(rows))] + pins[-select:]
            table = _multiplexer(which.reshape(-1), len(rows))
            layer += 1
        number[lut] = len(parts)
        parts.append((layer, pins, table))
    order = np.argsort([layer for layer, _, _ in parts], kind="stable")
    place = np.empty(len(parts), np.intp)
    place[order] = np.arange(len(parts))
    signal = np.concatenate([np.arange(circuit.num_inputs), circuit.num_inputs + place[number]])
    wiring = [
        [int(circuit.num_inputs + place[pin[0]]) if isinstance(pin, tuple) else int(signal[pin]) for pin in pins]
        for _, pins, _ in parts
    ]
    layers = np.unique([layer for layer, _, _ in parts], return_inverse=True)[1][order]
    blank = np.zeros((len(parts), 0))
    grown = replace(circuit, wiring=blank, tables=np.zeros((len(parts), 1), bool), layers=layers,
                    outputs=signal[circuit.outputs])  # fmt: skip
    return assemble(grown, [wiring[part] for part in order], [parts[part][2] for part in order],
                    np.ones(len(parts), bool))  # fmt: skip


def _multiplexer(which: np.ndarray, data: int) -> np.ndarray:
    """The table whose lower `data` inputs are chosen from by the higher ones: entry `which` of their value."""
    addresses = np.arange(2**data * len(which))
    return (addresses >> which[addresses >> data] & 1).astype(bool)
