"""How passes change a circuit: each says what becomes of each signal, and the readers' tables are rewritten."""

from dataclasses import replace

import numpy as np

from difflut.circuits.circuit import Circuit


def unchanged(circuit: Circuit) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(circuit.num_signals), np.zeros(circuit.num_signals, bool)


def first_equal(rows: np.ndarray) -> np.ndarray:
    """For each row the index of the first row equal to it."""
    if not len(rows):
        return np.zeros(0, np.intp)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)]


def substitute(circuit: Circuit, target: np.ndarray, flip: np.ndarray) -> Circuit:
    """Lets readers of signal `s` read `target[s]`, inverted where `flip[s]`, and removes LUTs that are replaced.

    A target of -1 is the constant 0, or 1 where flipped. Targets may have targets themselves.
    """
    while (moved := (target >= 0) & (target[target] != target)).any():
        through = target[moved]
        target[moved], flip[moved] = target[through], flip[moved] ^ flip[through]
    used = circuit.wiring >= 0
    wiring = np.where(used, target[circuit.wiring], -1)
    ones, constant = used & flip[circuit.wiring], used & (wiring < 0)
    tables, addresses = circuit.tables.copy(), np.arange(circuit.tables.shape[1])
    for pin in range(wiring.shape[1]):
        bit = 1 << pin
        for rows, read in (
            (constant[:, pin] & ones[:, pin], addresses | bit),
            (constant[:, pin] & ~ones[:, pin], addresses & ~bit),
            (~constant[:, pin] & ones[:, pin], addresses ^ bit),
        ):
            tables[rows] = tables[rows][:, read]
    outputs, inverted = target[circuit.outputs], circuit.inverted ^ flip[circuit.outputs]
    counted = outputs >= 0
    bias = circuit.bias + np.bincount(circuit.groups[~counted & inverted], minlength=circuit.num_classes)
    circuit = replace(circuit, wiring=wiring, tables=tables, bias=bias, outputs=outputs[counted],
                      inverted=inverted[counted], groups=circuit.groups[counted])  # fmt: skip
    return keep(circuit, (target == np.arange(len(target)))[circuit.num_inputs :])


def keep(circuit: Circuit, kept: np.ndarray) -> Circuit:
    """The circuit of the LUTs `kept`, which read none of the others."""
    number = np.concatenate([np.arange(circuit.num_inputs), circuit.num_inputs + np.cumsum(kept) - 1])
    wiring = circuit.wiring[kept]
    return replace(
        circuit,
        wiring=np.where(wiring < 0, -1, number[wiring]),
        tables=circuit.tables[kept],
        layers=circuit.layers[kept],
        outputs=number[circuit.outputs],
    )


def assemble(circuit: Circuit, pins: list[list[int]], tables: list[np.ndarray], kept: np.ndarray) -> Circuit:
    """The circuit of the LUTs `kept`, with these pins (of the numbering so far) and tables over them."""
    rows = np.flatnonzero(kept)
    n = max((len(pins[lut]) for lut in rows), default=0)
    wiring, padded = np.full((circuit.num_luts, n), -1), np.zeros((circuit.num_luts, 2**n), bool)
    for lut in rows:
        wiring[lut, : len(pins[lut])] = pins[lut]
        padded[lut] = np.tile(tables[lut], 2 ** (n - len(pins[lut])))
    return keep(replace(circuit, wiring=wiring, tables=padded), kept)
