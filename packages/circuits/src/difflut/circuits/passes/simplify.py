"""Passes that make a circuit smaller and leave its function as it is: circuit to circuit, each a pure function.

Most say what becomes of each signal: another signal, its inverse or a constant. `substitute` then rewrites the readers'
tables, so inverters and constants cost nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.absorb import absorb
from difflut.circuits.passes.care import cancel_outputs, drop_unreachable, merge_equivalent
from difflut.circuits.passes.rewrite import first_equal, keep, substitute, unchanged
from difflut.circuits.passes.windows import possible_levels


def _num_pins(circuit: Circuit) -> int:
    return int((circuit.wiring >= 0).sum())


def _num_bits(circuit: Circuit) -> int:
    read = np.union1d(circuit.wiring, circuit.outputs)
    return int(((read >= 0) & (read < circuit.num_inputs)).sum())


# Passes that remove no LUT, and what they remove instead.
DROPPED = {
    "merge_inputs": _num_bits,
    "drop_inputs": _num_pins,
    "drop_unreachable": _num_pins,
    "cancel_outputs": lambda circuit: len(circuit.outputs),
}


@dataclass
class Report:
    """What simplification came to.

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
            count = DROPPED.get(name, lambda of: of.num_luts)
            gains[name] += count(circuit) - count(smaller)
            circuit = smaller
    depth = int(before.layers.max(initial=-1)) + 1
    layers = [np.bincount(of.layers, minlength=depth).tolist() for of in (before, circuit)]
    removed, dropped = ({name: gains[name] for name in gains if (name in DROPPED) == other} for other in (False, True))
    return _trimmed(circuit), Report(before.num_luts, circuit.num_luts, *layers, removed, dropped)


def merge_inputs(circuit: Circuit) -> Circuit:
    """Takes bits of the encoder for one that are equal, inverse or constant at every level that can occur.

    Levels between two equal thresholds cannot: a pixel that is mostly 0 has several thresholds there.
    """
    possible = possible_levels(circuit)
    changes = (circuit.codebook ^ circuit.codebook[0]).T & possible[:, None]  # (features, bits, levels)
    features, bits, levels = changes.shape
    feature = np.repeat(np.arange(features), bits)
    changes = changes.reshape(features * bits, levels)
    first = first_equal(np.column_stack([feature, changes]))
    start = np.tile(circuit.codebook[0], features)  # bits at the lowest level
    constant = ~changes.any(1)
    target, flip = unchanged(circuit)
    target[: features * bits] = np.where(constant, -1, first)
    flip[: features * bits] = np.where(constant, start, start ^ start[first])
    return substitute(circuit, target, flip)


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
    target, flip = unchanged(circuit)
    constant = np.flatnonzero((circuit.wiring < 0).all(1))
    target[circuit.num_inputs + constant] = -1
    flip[circuit.num_inputs + constant] = circuit.tables[constant, 0]
    return substitute(circuit, target, flip)


def fold_wires(circuit: Circuit) -> Circuit:
    """Connects readers of an identity or inverter to what it reads."""
    target, flip = unchanged(circuit)
    depends = circuit.tables.any(1) & ~circuit.tables.all(1)
    wires = np.flatnonzero(((circuit.wiring >= 0).sum(1) == 1) & depends)
    target[circuit.num_inputs + wires] = circuit.wiring[wires].max(1, initial=-1)
    flip[circuit.num_inputs + wires] = circuit.tables[wires, 0]
    return substitute(circuit, target, flip)


def merge_duplicates(circuit: Circuit) -> Circuit:
    """Takes for one LUTs that read the same and have equal or complementary tables; inputs ascend already."""
    start = circuit.tables[:, 0]
    first = first_equal(np.column_stack([circuit.wiring, circuit.tables ^ start[:, None]]))
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


def _trimmed(circuit: Circuit) -> Circuit:
    """Without address bits that no LUT has an input for."""
    n = int((circuit.wiring >= 0).sum(1).max(initial=0))
    return replace(circuit, wiring=circuit.wiring[:, :n], tables=circuit.tables[:, : 2**n])
