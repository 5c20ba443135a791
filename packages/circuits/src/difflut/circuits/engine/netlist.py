"""A circuit as the engines take it: comparisons, tables of at most six inputs, and outputs by class."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.rewrite import compact
from difflut.circuits.passes.split import split

PINS = 6
PARTS = 16  # of the input, neighbouring features; in large circuits nodes are computed part by part


@dataclass(frozen=True)
class Nodes:
    """LUTs of at most six inputs in an order in which they can be computed.

    Attributes:
        wiring: The signals that each reads, -1 behind the last: `(nodes, 6)`.
        tables: 64 entries each, repeated where inputs are missing: `(nodes,)` uint64.
    """

    wiring: np.ndarray
    tables: np.ndarray

    def __add__(self, other: "Nodes") -> "Nodes":
        return Nodes(np.concatenate([self.wiring, other.wiring]), np.concatenate([self.tables, other.tables]))


@dataclass(frozen=True)
class Netlist:
    """Signals are numbered: the comparisons from 0 on, then, from `origin` on, the nodes.

    Attributes:
        comparisons: Feature and threshold index of each: `(comparisons, 2)`.
        nodes: The encoder's, then those of the circuit.
        origin: The signal of the first node.
        part: The part of the input that each signal of a comparison depends on: `(origin,)`.
        outputs: The signals that are counted, class by class.
        output_start: Number of the first output of each class: `(classes + 1,)`.
        bias: Number with which the count of each class begins, at least 0: `(classes,)`.
        offset: Number that has been added to every bias to make it so.
    """

    comparisons: np.ndarray
    nodes: Nodes
    origin: int
    part: np.ndarray
    outputs: np.ndarray
    output_start: np.ndarray
    bias: np.ndarray
    offset: int


def netlist(circuit: Circuit, place: np.ndarray | None = None, origin: int | None = None) -> Netlist:
    """The netlist of a circuit.

    Args:
        place: The signal of each comparison; by default its number.
        origin: The signal of the first node; by default the number of comparisons.
    """
    circuit = compact(split(circuit, PINS))
    encoder = encoder_bits(circuit)
    place = np.arange(len(encoder.comparisons)) if place is None else place
    origin = len(place) if origin is None else origin
    terms = [place[chosen].tolist() for chosen in encoder.terms]
    nodes, signals = _exclusive_ors(terms, encoder.inverted.tolist(), origin)
    number = np.zeros(circuit.num_signals, np.int64)
    number[encoder.signals] = signals
    nodes, number = _add_luts(circuit, nodes, number, origin)
    nodes, outputs = _invert(nodes, number[circuit.outputs], circuit.inverted, origin)
    order = np.argsort(circuit.groups, kind="stable")
    members = np.bincount(circuit.groups, minlength=circuit.num_classes)
    offset = max(0, -int(circuit.bias.min(initial=0)))
    start = np.cumsum([0, *members])
    part = np.zeros(origin, np.int64)
    part[place] = encoder.comparisons[:, 0] * PARTS // circuit.num_features
    return Netlist(encoder.comparisons, nodes, origin, part, outputs[order], start, circuit.bias + offset, offset)


def _exclusive_ors(terms: list[list[int]], inverted: list[bool], origin: int) -> tuple[Nodes, list[int]]:
    """Nodes that make bits of the encoder from comparisons, and the signal of each bit."""
    wiring, tables, signals = [], [], []
    parity = np.array([a.bit_count() & 1 for a in range(2**PINS)], bool)
    for bit_terms, start in zip(terms, inverted, strict=True):
        left, first = list(bit_terms), start
        while len(left) != 1 or first:
            pins, left = left[:PINS], left[PINS:]
            connected = np.arange(2**PINS) & 2 ** len(pins) - 1
            wiring.append(pins + [-1] * (PINS - len(pins)))
            tables.append(parity[connected] ^ first)
            left, first = [origin + len(wiring) - 1, *left], False
        signals.append(left[0])
    return Nodes(np.array(wiring, np.int64).reshape(-1, PINS), _packed(np.array(tables, bool))), signals


def _add_luts(circuit: Circuit, nodes: Nodes, number: np.ndarray, origin: int) -> tuple[Nodes, np.ndarray]:
    """The circuit's LUTs, whose connected pins come first."""
    n = circuit.wiring.shape[1]
    number[circuit.num_inputs :] = origin + len(nodes.tables) + np.arange(circuit.num_luts)
    wiring = np.full((circuit.num_luts, PINS), -1)
    wiring[:, :n] = np.where(circuit.wiring < 0, -1, number[circuit.wiring])
    tables = _packed(np.tile(circuit.tables, 2 ** (PINS - n)))
    return nodes + Nodes(wiring, tables[circuit.table_of]), number


def _invert(nodes: Nodes, outputs: np.ndarray, inverted: np.ndarray, origin: int) -> tuple[Nodes, np.ndarray]:
    """Inverters for outputs whose zeros count."""
    count = int(inverted.sum())
    wiring = np.full((count, PINS), -1)
    wiring[:, 0] = outputs[inverted]
    outputs = outputs.copy()
    outputs[inverted] = origin + len(nodes.tables) + np.arange(count)
    return nodes + Nodes(wiring, np.full(count, 0x5555555555555555, np.uint64)), outputs


def _packed(entries: np.ndarray) -> np.ndarray:
    """(nodes, 64) booleans to (nodes,) uint64."""
    return np.packbits(entries.reshape(-1, 2**PINS), axis=1, bitorder="little").view("<u8").reshape(-1)
