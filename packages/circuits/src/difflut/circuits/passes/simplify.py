"""Passes that make a circuit smaller and leave its function as it is: circuit to circuit, each a pure function.

Most say what becomes of each signal: another signal, its inverse or a constant. `substitute` then rewrites the readers'
tables, so inverters and constants cost nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.absorb import absorb
from difflut.circuits.passes.care import cancel_outputs, drop_unreachable, merge_equivalent
from difflut.circuits.passes.drop import drop_inputs
from difflut.circuits.passes.rewrite import compact, first_equal, keep, substitute, unchanged
from difflut.circuits.passes.windows import possible_levels


def _num_pins(circuit: Circuit) -> int:
    return int((circuit.wiring >= 0).sum())


def _num_bits(circuit: Circuit) -> int:
    return len(circuit.read_inputs())


# Passes that remove no LUT, and what they remove instead.
DROPPED = {
    "merge_inputs": _num_bits,
    "drop_inputs": _num_pins,
    "drop_unreachable": _num_pins,
    "cancel_outputs": lambda circuit: len(circuit.outputs),
}


@dataclass
class Report:
    """The result of a simplification.

    Attributes:
        luts_before: LUTs that there were.
        luts_after: LUTs that are left.
        layers_before: LUTs in each layer.
        layers_after: LUTs left in each layer.
        removed: LUTs removed by each pass that removes any.
        dropped: Bits of the encoder that `merge_inputs` dropped, inputs of LUTs that `drop_inputs` and
            `drop_unreachable` did, outputs that `cancel_outputs` did.
    """

    luts_before: int
    luts_after: int
    layers_before: list[int]
    layers_after: list[int]
    removed: dict[str, int]
    dropped: dict[str, int]

    def __str__(self) -> str:
        passes = ", ".join(f"{name} {count}" for name, count in (self.removed | self.dropped).items() if count)
        return f"{self.luts_before} LUTs before, {self.luts_after} after ({passes or 'nothing to gain'})"


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
        "drop_unreachable": drop_unreachable,
        "fold_constants": fold_constants,
        "fold_wires": fold_wires,
        "merge_duplicates": merge_duplicates,
        "merge_equivalent": merge_equivalent,
        "cancel_outputs": cancel_outputs,
        "remove_dead": remove_dead,
        "absorb": partial(absorb, lut_size=lut_size),
    }
    gains, before, size = dict.fromkeys(passes, 0), circuit, None
    while size != (size := (circuit.num_luts, _num_pins(circuit))):
        for name, apply in passes.items():
            smaller = apply(circuit)
            count = DROPPED.get(name, lambda each: each.num_luts)
            gains[name] += count(circuit) - count(smaller)
            circuit = smaller
    depth = int(before.layers.max(initial=-1)) + 1
    layers, left = (np.bincount(each.layers, minlength=depth).tolist() for each in (before, circuit))
    removed, dropped = ({name: gains[name] for name in gains if (name in DROPPED) == other} for other in (False, True))
    return compact(circuit), Report(before.num_luts, circuit.num_luts, layers, left, removed, dropped)


def merge_inputs(circuit: Circuit) -> Circuit:
    """Merges bits of the encoder that are equal, inverse or constant at every level that can occur.

    Levels between two equal thresholds cannot occur: a pixel that is mostly 0 has several thresholds there.
    """
    possible = possible_levels(circuit)
    changes = (circuit.codebook ^ circuit.codebook[0]).T & possible[:, None]  # (features, bits, levels)
    features, bits, levels = changes.shape
    feature = np.repeat(np.arange(features), bits)
    changes = changes.reshape(features * bits, levels)
    first = first_equal(feature, changes)
    start = np.tile(circuit.codebook[0], features)  # bits at the lowest level
    constant = ~changes.any(1)
    target, flip = unchanged(circuit)
    target[: features * bits] = np.where(constant, -1, first)
    flip[: features * bits] = np.where(constant, start, start ^ start[first])
    return substitute(circuit, target, flip)


def fold_constants(circuit: Circuit) -> Circuit:
    """Puts LUTs without inputs into their readers' tables and the counts' bias."""
    target, flip = unchanged(circuit)
    constant = np.flatnonzero((circuit.wiring < 0).all(1))
    target[circuit.num_inputs + constant] = -1
    flip[circuit.num_inputs + constant] = circuit.tables[circuit.table_of[constant], 0]
    return substitute(circuit, target, flip)


def fold_wires(circuit: Circuit) -> Circuit:
    """Connects readers of an identity or inverter to what it reads."""
    target, flip = unchanged(circuit)
    varies = np.logical_and(circuit.tables.any(1), ~circuit.tables.all(1))
    wires = np.flatnonzero(((circuit.wiring >= 0).sum(1) == 1) & varies[circuit.table_of])
    target[circuit.num_inputs + wires] = circuit.wiring[wires].max(1, initial=-1)
    flip[circuit.num_inputs + wires] = circuit.tables[circuit.table_of[wires], 0]
    return substitute(circuit, target, flip)


def merge_duplicates(circuit: Circuit) -> Circuit:
    """Merges LUTs that read the same and have equal or complementary tables; inputs ascend already."""
    same = first_equal(circuit.tables ^ circuit.tables[:, :1])  # the same table or its complement
    start, first = circuit.tables[circuit.table_of, 0], first_equal(circuit.wiring, same[circuit.table_of])
    target, flip = unchanged(circuit)
    target[circuit.num_inputs :] = circuit.num_inputs + first
    flip[circuit.num_inputs :] = start ^ start[first]
    return substitute(circuit, target, flip)


def remove_dead(circuit: Circuit) -> Circuit:
    """Removes LUTs on which no output depends."""
    live = np.zeros(circuit.num_signals, bool)
    live[circuit.outputs] = True
    for rows in reversed(circuit.layer_slices()):
        read = circuit.wiring[rows][live[circuit.num_inputs :][rows]]
        live[read[read >= 0]] = True
    return keep(circuit, live[circuit.num_inputs :])
