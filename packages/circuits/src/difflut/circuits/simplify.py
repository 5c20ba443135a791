"""Passes that make a circuit smaller and leave its function as it is: circuit to circuit, each a pure function.

Most say what becomes of each signal: another signal, its inverse or a constant. `_replace` then rewrites the readers'
tables, so inverters and constants cost nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations

import numpy as np

from difflut.circuits.absorb import absorb
from difflut.circuits.circuit import Circuit


@dataclass
class Report:
    """What simplification came to.

    Attributes:
        luts_before: LUTs that there were.
        luts_after: LUTs that are left.
        layers_before: LUTs in each layer.
        layers_after: LUTs left in each layer.
        removed: By pass: LUTs removed; for `merge_inputs` bits of the encoder, for `drop_inputs` inputs of LUTs.
    """

    luts_before: int
    luts_after: int
    layers_before: list[int]
    layers_after: list[int]
    removed: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        passes = ", ".join(f"{name} {count}" for name, count in self.removed.items())
        return f"{self.luts_before} LUTs before, {self.luts_after} after ({passes})"


def simplify(circuit: Circuit, lut_size: int = 6) -> tuple[Circuit, Report]:
    """Repeats all passes until none finds anything; the function is unchanged, and there are never more LUTs.

    Args:
        lut_size: Tables are absorbed into others as long as the result has at most so many inputs.

    Returns:
        The smaller circuit and what each pass removed.
    """
    passes: dict[str, Callable[[Circuit], Circuit]] = {
        "merge_inputs": merge_inputs,
        "drop_inputs": drop_inputs,
        "fold_constants": fold_constants,
        "fold_wires": fold_wires,
        "merge_duplicates": merge_duplicates,
        "remove_dead": remove_dead,
        "absorb": partial(absorb, lut_size=lut_size),
    }
    removed, before, size = dict.fromkeys(passes, 0), circuit, None
    while size != (size := (circuit.num_luts, _num_pins(circuit))):
        for name, apply in passes.items():
            smaller = apply(circuit)
            count = {"merge_inputs": _num_bits, "drop_inputs": _num_pins}.get(name, lambda of: of.num_luts)
            removed[name] += count(circuit) - count(smaller)
            circuit = smaller
    depth = int(before.layers.max(initial=-1)) + 1
    layers = [np.bincount(of.layers, minlength=depth).tolist() for of in (before, circuit)]
    return _trimmed(circuit), Report(before.num_luts, circuit.num_luts, *layers, removed)


def merge_inputs(circuit: Circuit) -> Circuit:
    """Takes bits of the encoder for one that are equal, inverse or constant at every level that can occur.

    Levels between two equal thresholds cannot: a pixel that is mostly 0 has several thresholds there.
    """
    ascends = np.diff(circuit.thresholds, axis=1) > 0
    occurs = np.pad(ascends, ((0, 0), (1, 1)), constant_values=True)  # (features, levels)
    changes = (circuit.codebook ^ circuit.codebook[0]).T & occurs[:, None]  # (features, bits, levels)
    features, bits, levels = changes.shape
    feature = np.repeat(np.arange(features), bits)
    changes = changes.reshape(features * bits, levels)
    first = _first_equal(np.column_stack([feature, changes]))
    start = np.tile(circuit.codebook[0], features)  # bits at the lowest level
    constant = ~changes.any(1)
    target, flip = _unchanged(circuit)
    target[: features * bits] = np.where(constant, -1, first)
    flip[: features * bits] = np.where(constant, start, start ^ start[first])
    return _replace(circuit, target, flip)


def drop_inputs(circuit: Circuit) -> Circuit:
    """Drops inputs that a table does not depend on or reads twice; the rest ascend, so that equal LUTs look equal."""
    wiring, tables = circuit.wiring.copy(), circuit.tables.copy()
    n = wiring.shape[1]
    addresses = np.arange(2**n)
    for pin, other in combinations(range(n), 2):
        twice = (wiring[:, pin] == wiring[:, other]) & (wiring[:, pin] >= 0)
        tables[twice] = tables[twice][:, addresses & ~(1 << other) | (addresses >> pin & 1) << other]
    for pin in range(n):
        wiring[(tables == tables[:, addresses ^ 1 << pin]).all(1), pin] = -1
    order = np.argsort(np.where(wiring < 0, circuit.num_signals, wiring), axis=1, kind="stable")
    old_addresses = sum(
        ((addresses >> pin & 1) << order[:, pin, None] for pin in range(n)), np.zeros_like(tables, np.intp)
    )
    return replace(
        circuit,
        wiring=np.take_along_axis(wiring, order, 1),
        tables=np.take_along_axis(tables, old_addresses, 1),
    )


def fold_constants(circuit: Circuit) -> Circuit:
    """Puts LUTs without inputs into their readers' tables and the counts' bias."""
    target, flip = _unchanged(circuit)
    constant = np.flatnonzero((circuit.wiring < 0).all(1))
    target[circuit.num_inputs + constant] = -1
    flip[circuit.num_inputs + constant] = circuit.tables[constant, 0]
    return _replace(circuit, target, flip)


def fold_wires(circuit: Circuit) -> Circuit:
    """Connects readers of an identity or inverter to what it reads."""
    target, flip = _unchanged(circuit)
    depends = circuit.tables.any(1) & ~circuit.tables.all(1)
    wires = np.flatnonzero(((circuit.wiring >= 0).sum(1) == 1) & depends)
    target[circuit.num_inputs + wires] = circuit.wiring[wires].max(1, initial=-1)
    flip[circuit.num_inputs + wires] = circuit.tables[wires, 0]
    return _replace(circuit, target, flip)


def merge_duplicates(circuit: Circuit) -> Circuit:
    """Takes for one LUTs that read the same and have equal or complementary tables; inputs ascend already."""
    start = circuit.tables[:, 0]
    first = _first_equal(np.column_stack([circuit.wiring, circuit.tables ^ start[:, None]]))
    target, flip = _unchanged(circuit)
    target[circuit.num_inputs :] = circuit.num_inputs + first
    flip[circuit.num_inputs :] = start ^ start[first]
    return _replace(circuit, target, flip)


def remove_dead(circuit: Circuit) -> Circuit:
    """Removes LUTs on which no output depends."""
    live = np.zeros(circuit.num_signals, bool)
    live[circuit.outputs] = True
    for rows in reversed(circuit.layer_slices()):
        read = circuit.wiring[rows][live[circuit.num_inputs :][rows]]
        live[read[read >= 0]] = True
    return _keep(circuit, live[circuit.num_inputs :])


def _unchanged(circuit: Circuit) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(circuit.num_signals), np.zeros(circuit.num_signals, bool)


def _first_equal(rows: np.ndarray) -> np.ndarray:
    """For each row the index of the first row equal to it."""
    if not len(rows):
        return np.zeros(0, np.intp)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)]


def _replace(circuit: Circuit, target: np.ndarray, flip: np.ndarray) -> Circuit:
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
    return _keep(circuit, (target == np.arange(len(target)))[circuit.num_inputs :])


def _keep(circuit: Circuit, kept: np.ndarray) -> Circuit:
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


def _num_pins(circuit: Circuit) -> int:
    return int((circuit.wiring >= 0).sum())


def _num_bits(circuit: Circuit) -> int:
    read = np.union1d(circuit.wiring, circuit.outputs)
    return int(((read >= 0) & (read < circuit.num_inputs)).sum())


def _trimmed(circuit: Circuit) -> Circuit:
    """Without address bits that no LUT has an input for."""
    n = int((circuit.wiring >= 0).sum(1).max(initial=0))
    return replace(circuit, wiring=circuit.wiring[:, :n], tables=circuit.tables[:, : 2**n])
