"""Tables with more inputs than a LUT of the hardware has, as trees of LUTs."""

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.passes.rewrite import compact, shared

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
    while circuit.wiring.shape[1] > lut_size and (circuit := compact(circuit)).wiring.shape[1] > lut_size:
        circuit = _split_once(circuit, lut_size)
    return circuit


def _split_once(circuit: Circuit, lut_size: int) -> Circuit:
    """Each wide table becomes parts and, in its place, a multiplexer of them; all LUTs have their connected pins first.

    The lower pins of a multiplexer are parts, the higher ones those that choose among them.
    """
    select = max(bits for bits in range(1, lut_size) if bits + 2**bits <= lut_size)
    data, n = 2**select, max(circuit.wiring.shape[1] - select, lut_size)
    arity = (circuit.wiring >= 0).sum(1)
    wiring, table_of, owners = circuit.wiring[:, :n].astype(np.int64), circuit.table_of.astype(np.int64), []
    tables = [circuit.tables[:, : 2**n]]
    for k in np.unique(arity[arity > lut_size]).tolist():
        luts = np.flatnonzero(arity == k)
        used, which = np.unique(circuit.table_of[luts], return_inverse=True)
        rows = circuit.tables[used, : 2**k].reshape(-1, 2 ** (k - select))
        first, part = distinct(np.repeat(np.arange(len(used)), data), rows)
        part = part.reshape(len(used), data)
        chosen = part - part.min(1, keepdims=True)  # among the parts of a table
        count = chosen.max(1)[which] + 1
        owner, begin = np.repeat(np.arange(len(luts)), count), np.cumsum(count) - count
        number_of_part = np.arange(len(owner)) - begin[owner]
        signals = circuit.num_inputs + len(wiring) + begin[:, None] + np.arange(data)
        pins = circuit.wiring[luts]
        wiring[luts] = -1
        wiring[luts, :data] = np.where(np.arange(data) < count[:, None], signals, -1)
        wiring[luts, data : data + select] = pins[:, k - select : k]
        lower = np.full((len(owner), n), -1)
        lower[:, : k - select] = pins[owner, : k - select]
        wiring = np.concatenate([wiring, lower])
        pattern, of_table = distinct(chosen)
        table_of[luts] = _rows(tables) + of_table[which]
        tables.append(_widened(_multiplexers(chosen[pattern]), n))
        table_of = np.concatenate([table_of, _rows(tables) + part.min(1)[which[owner]] + number_of_part])
        tables.append(_widened(rows[first], n))
        owners.append(luts[owner])
    layers = np.concatenate([2 * circuit.layers + (arity > lut_size), 2 * circuit.layers[np.concatenate(owners)]])
    order = np.argsort(layers, kind="stable")
    number = np.append(np.arange(circuit.num_inputs), circuit.num_inputs + np.argsort(order))
    wiring, table_of = np.where(wiring < 0, -1, number[wiring])[order], table_of[order]
    layers = np.unique(layers[order], return_inverse=True)[1]
    return shared(circuit, wiring, np.concatenate(tables), table_of, layers=layers, outputs=number[circuit.outputs])


def _rows(tables: list[np.ndarray]) -> int:
    return sum(map(len, tables))


def _widened(tables: np.ndarray, n: int) -> np.ndarray:
    """The tables over `n` inputs, of which they do not depend on the last ones."""
    return np.tile(tables, (1, 2**n // tables.shape[1]))


def _multiplexers(chosen: np.ndarray) -> np.ndarray:
    """Tables whose lower inputs are chosen from by the higher ones: entry `chosen` of their value."""
    data = chosen.shape[1]
    addresses = np.arange(2**data * data)
    return (addresses >> chosen[:, addresses >> data] & 1).astype(bool)
