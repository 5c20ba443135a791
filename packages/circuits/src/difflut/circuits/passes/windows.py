"""What signals can be together: all states of the encoder that they depend on, enumerated."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from difflut.circuits.circuit import Circuit

MAX_STATES = 2**14
# States of all windows of a circuit together, so that a pass takes seconds; large circuits have smaller windows.
ALL_STATES = 2**25


def possible_levels(circuit: Circuit) -> np.ndarray:
    """The levels that some input can have: `(features, K + 1)` booleans.

    There is none between two equal thresholds (a pixel that is mostly 0 has several there), and none above infinity.
    """
    higher = np.pad(circuit.thresholds[:, 1:], ((0, 0), (0, 1)), constant_values=np.inf)
    return np.pad(circuit.thresholds < higher, ((0, 0), (1, 0)), constant_values=True)


class Windows:
    """Enumerates what a few signals can be together.

    Each signal follows from its leaves. These are bits of the encoder, of which only code words that occur are
    enumerated, as long as they have at most `max_states` states; otherwise they are outputs of LUTs, which are taken as
    free. So more states may be enumerated than can occur, but never fewer: what holds in all of them is proven.
    """

    def __init__(self, circuit: Circuit, max_states: int | None = None) -> None:
        self.circuit = circuit
        self.max_states = min(MAX_STATES, ALL_STATES // max(circuit.num_luts, 1)) if max_states is None else max_states
        self.pins = [[pin for pin in row if pin >= 0] for row in circuit.wiring.tolist()]
        self._levels = possible_levels(circuit)
        self._codes: dict[tuple[int, ...], np.ndarray] = {}
        self._leaves = [frozenset([bit]) for bit in range(circuit.num_inputs)]
        for pins in self.pins:
            leaves = self.leaves(pins)
            self._leaves.append(leaves if self.num_states(leaves) <= self.max_states else frozenset(pins))

    def leaves(self, signals: Iterable[int]) -> frozenset[int]:
        """The signals that all these follow from."""
        return frozenset().union(*(self._leaves[signal] for signal in signals))

    def num_states(self, leaves: frozenset[int]) -> int:
        number = 1
        for together in self._by_source(leaves).values():
            number *= len(self._code_words(together))
        return number

    def values(self, signals: Sequence[int]) -> np.ndarray:
        """The signals in all states: `(signals, states)` integers 0 and 1."""
        leaves = self.leaves(signals)
        known: dict[int, np.ndarray] = {}
        stride, state = 1, np.arange(self.num_states(leaves))
        for together in self._by_source(leaves).values():
            codes = self._code_words(together)
            known |= zip(together, codes[state // stride % len(codes)].T, strict=True)
            stride *= len(codes)
        return np.stack([np.broadcast_to(self._evaluate(signal, known), state.shape) for signal in signals])

    def possible_addresses(self, lut: int) -> np.ndarray:
        """Which addresses the connected inputs of a LUT can have: `(2**k,)` booleans."""
        pins = self.pins[lut]
        addresses, possible = np.arange(2 ** len(pins)), np.ones(2 ** len(pins), bool)
        for cluster in self._dependent(pins):
            values = self.values([pins[position] for position in cluster])
            seen = np.zeros(2 ** len(cluster), bool)
            seen[_address(values)] = True
            possible &= seen[_address(addresses >> position & 1 for position in cluster)]
        return possible

    def _dependent(self, pins: list[int]) -> list[list[int]]:
        """Positions of pins that share sources, put together as long as their states can be enumerated."""
        clusters = [[position] for position in range(len(pins))]
        leaves = [self._leaves[pin] for pin in pins]
        sources = [set(self._by_source(leaf)) for leaf in leaves]
        while len(set().union(*sources)) < sum(map(len, sources)):
            candidates = [
                (states, *pair)
                for pair in combinations(range(len(clusters)), 2)
                if not sources[pair[0]].isdisjoint(sources[pair[1]])
                and (states := self.num_states(leaves[pair[0]] | leaves[pair[1]])) <= self.max_states
            ]
            if not candidates:
                break
            _, into, gone = min(candidates)
            clusters[into] += clusters.pop(gone)
            leaves[into] |= leaves.pop(gone)
            sources[into] |= sources.pop(gone)
        return [cluster for cluster in clusters if len(cluster) > 1]

    def _evaluate(self, signal: int, known: dict[int, np.ndarray]) -> np.ndarray:
        if signal not in known:
            lut = signal - self.circuit.num_inputs
            address = _address(self._evaluate(pin, known) for pin in self.pins[lut])
            known[signal] = self.circuit.connected_table(lut).astype(np.intp)[address]
        return known[signal]

    def _by_source(self, leaves: frozenset[int]) -> dict[int, list[int]]:
        """Leaves by what decides them: a feature, or the LUT itself (negative)."""
        by_source: dict[int, list[int]] = {}
        for leaf in sorted(leaves):
            source = leaf // self.circuit.codebook.shape[1] if leaf < self.circuit.num_inputs else -leaf
            by_source.setdefault(source, []).append(leaf)
        return by_source

    def _code_words(self, together: list[int]) -> np.ndarray:
        """What leaves of one source can be: `(words, leaves)` integers."""
        if together[0] >= self.circuit.num_inputs:
            return np.array([[0], [1]])
        key = tuple(together)
        if key not in self._codes:
            feature, bits = divmod(np.array(together), self.circuit.codebook.shape[1])
            words = self.circuit.codebook[self._levels[feature[0]]][:, bits]
            self._codes[key] = np.unique(words, axis=0).astype(np.intp)
        return self._codes[key]


def _address(bits: Iterable[np.ndarray]) -> np.ndarray:
    """Bits, the least significant first, to whole numbers."""
    return sum((bit << position for position, bit in enumerate(bits)), np.zeros((), np.intp))
