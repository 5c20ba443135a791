"""What signals can be together: all states of the encoder that they depend on, enumerated for many LUTs at once."""

import math
from collections.abc import Iterator

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.passes.partitions import Partitions

MAX_STATES = 2**14
# States of all windows of a circuit together, so that a pass takes seconds; large circuits have smaller windows.
ALL_STATES = 2**25
TOGETHER = 2**22  # states that are evaluated at a time
ROWS = 2**14  # LUTs whose windows are looked for at a time
NO_SOURCE = np.iinfo(np.int32).max

Window = tuple[np.ndarray, np.ndarray]  # sources, ascending, and how each is seen: `(rows, sources)` twice


def possible_levels(circuit: Circuit) -> np.ndarray:
    """The levels that some input can have: `(features, K + 1)` booleans.

    There is none between two equal thresholds (a pixel that is mostly 0 has several there), and none above infinity.
    """
    higher = np.pad(circuit.thresholds[:, 1:], ((0, 0), (0, 1)), constant_values=np.inf)
    return np.pad(circuit.thresholds < higher, ((0, 0), (1, 0)), constant_values=True)


class Windows:
    """Enumerates what a few signals can be together.

    Each signal follows from its sources. These are features, of which it tells some levels apart and only those that
    occur are enumerated, as long as they have at most `max_states` states together; otherwise they are outputs of LUTs,
    which are taken as free. So more states may be enumerated than can occur, but never fewer: what holds in all of them
    is proven.

    Attributes:
        max_states: Of a window.
        constant: The value that each signal has in all states, or -1: `(signals + 1,)`, the last being no signal.
    """

    def __init__(self, circuit: Circuit, max_states: int | None = None) -> None:
        self.circuit = circuit
        self.max_states = min(MAX_STATES, ALL_STATES // max(circuit.num_luts, 1)) if max_states is None else max_states
        self._width = max(int(self.max_states).bit_length() - 1, 1)  # a source has two states at least
        self._partitions = Partitions(max(circuit.codebook.shape[0], 2))
        shape = circuit.num_signals + 1, self._width  # the last one is what a missing pin reads: a constant
        self._sources, self._seen = np.full(shape, NO_SOURCE, np.int32), np.zeros(shape, np.int32)
        self._start, self._values = np.zeros(len(self._sources), np.int64), np.array([0, 1], np.uint8)
        self.constant = np.full(len(self._sources), -1, np.int8)
        self._add_encoder()
        for rows in circuit.layer_slices():
            for start in range(rows.start, rows.stop, ROWS):
                self._add_luts(np.arange(start, min(start + ROWS, rows.stop)))

    def union(self, signals: np.ndarray) -> tuple[Window, np.ndarray]:
        """The sources of all signals of a row, `(rows, signals)`, and how many states these have.

        The sources of more than `max_states` states are not all there.
        """
        window, states = self._nothing(len(signals)), np.ones(len(signals))
        for column in signals.T:
            window, more = self.joined(window, self.window(column))
            states = np.where(states > self.max_states, states, more)
        return window, states

    def window(self, signals: np.ndarray) -> Window:
        return self._sources[signals], self._seen[signals]

    def joined(self, one: Window, other: Window) -> tuple[Window, np.ndarray]:
        """The sources of both, and how many states these have."""
        sources, seen = (np.concatenate(pair, axis=1) for pair in zip(one, other, strict=True))
        sources, seen = _ascending(sources, seen)
        row, left = np.nonzero((sources[:, 1:] == sources[:, :-1]) & (sources[:, 1:] != NO_SOURCE))
        seen[row, left] = self._partitions.refined(seen[row, left], seen[row, left + 1])
        sources[row, left + 1], seen[row, left + 1] = NO_SOURCE, 0
        sources, seen = _ascending(sources, seen)
        states = self._partitions.sizes[seen].prod(1, dtype=float)
        return (sources[:, : self._width], seen[:, : self._width]), states

    def values(self, signals: np.ndarray, window: Window) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The signals of rows, `(rows, signals)`, in all states of a window that has their sources.

        Yields:
            Some rows whose windows have as many states, and the signals: `(signals, rows, states)`, 0 or 1.
        """
        sizes = self._partitions.sizes[window[1]]
        first, which = distinct(sizes)
        order, count = np.argsort(which, kind="stable"), np.bincount(which)
        for of, begin, end in zip(first.tolist(), (np.cumsum(count) - count).tolist(), np.cumsum(count), strict=True):
            step = max(TOGETHER // int(sizes[of].prod()), 1)
            for start in range(begin, int(end), step):
                some = order[start : min(start + step, int(end))]
                yield some, self._values_of(signals[some], window[0][some], window[1][some], sizes[of].tolist())

    def _values_of(self, signals: np.ndarray, sources: np.ndarray, seen: np.ndarray, sizes: list[int]) -> np.ndarray:
        """Rows of windows whose sources have these numbers of states; the first source changes fastest."""
        partitions, every = self._partitions, np.arange(len(signals))
        found = np.empty((signals.shape[1], len(signals), math.prod(sizes)), np.uint8)
        for number, column in enumerate(signals.T):
            (own_sources, own_seen), place = self._own(column, sources)
            strides = partitions.sizes[own_seen].cumprod(1) // partitions.sizes[own_seen]
            for source, part, size in zip(sources.T, seen.T, sizes, strict=True):
                if size > 1:
                    same = own_sources == source[:, None]
                    at = same.argmax(1)
                    level = partitions.members[part[:, None], np.arange(size)]
                    state = partitions.classes[own_seen[every, at][:, None], level]
                    step = state * (strides[every, at] * same.any(1))[:, None]
                    place = (step[:, :, None] + place[:, None]).reshape(len(signals), -1)
            found[number] = self._values[place]
        return found

    def _own(self, signals: np.ndarray, sources: np.ndarray) -> tuple[Window, np.ndarray]:
        """The window of each signal, and where its values begin; what is one of the sources is free."""
        (own, seen), start = (of.copy() for of in self.window(signals)), self._start[signals]
        itself = self.circuit.num_features + signals
        free = (sources == itself[:, None]).any(1) & (signals >= self.circuit.num_inputs)
        own[free], seen[free], start[free] = NO_SOURCE, 0, 0
        own[free, 0], seen[free, 0] = itself[free], self._partitions.free
        return (own, seen), start[:, None]

    def _add_encoder(self) -> None:
        """Each bit tells levels of its feature apart, or is constant."""
        circuit = self.circuit
        bits = np.where(possible_levels(circuit)[:, None], circuit.codebook.T[None], -1)  # (features, bits, levels)
        bits = bits.reshape(circuit.num_inputs, -1)
        seen, first = self._partitions.add(bits)
        signals = np.arange(circuit.num_inputs)
        varies = self._partitions.sizes[seen] > 1
        self._sources[signals[varies], 0] = signals[varies] // circuit.codebook.shape[1]
        self._seen[signals[varies], 0] = seen[varies]
        start = np.take_along_axis(bits, first[:, None], 1)
        self._append(signals, np.where(varies[:, None], start ^ [0, 1], start).astype(np.uint8))

    def _add_luts(self, luts: np.ndarray) -> None:
        """The windows of LUTs: the sources of their pins, the pins, or where these have too many states the LUTs."""
        pins, signals = self.circuit.wiring[luts], self.circuit.num_inputs + luts
        (sources, seen), states = self.union(pins)
        free = states > self.max_states
        if free.any():
            (sources[free], seen[free]), states[free] = self._free(pins[free])
        alone = states > self.max_states
        sources[alone], seen[alone] = NO_SOURCE, 0
        sources[alone, 0], seen[alone, 0] = self.circuit.num_features + signals[alone], self._partitions.free
        self._sources[signals], self._seen[signals] = sources, seen
        self._append(signals[alone], np.tile(np.array([[0, 1]], np.uint8), (alone.sum(), 1)))
        found = np.flatnonzero(~alone)
        for rows, values in self.values(self.pins_of(luts[found]), (sources[found], seen[found])):
            tables = self.circuit.tables[self.circuit.table_of[luts[found[rows]]]]
            self._append(signals[found[rows]], np.take_along_axis(tables, addresses(values), 1).astype(np.uint8))

    def pins_of(self, luts: np.ndarray) -> np.ndarray:
        """What the pins of LUTs read, those without input a constant."""
        pins = self.circuit.wiring[luts]
        return np.where(pins < 0, self.circuit.num_signals, pins)

    def _free(self, pins: np.ndarray) -> tuple[Window, np.ndarray]:
        """The pins as sources: bits of the encoder as they are, LUTs as free."""
        own = self.circuit.num_inputs <= pins
        window, states = self._nothing(len(pins)), np.ones(len(pins))
        for pin, is_lut in zip(pins.T, own.T, strict=True):
            sources, seen = (of.copy() for of in self.window(np.where(pin < 0, -1, pin)))
            sources[is_lut], seen[is_lut] = NO_SOURCE, 0
            sources[is_lut, 0] = self.circuit.num_features + pin[is_lut]
            seen[is_lut, 0] = self._partitions.free
            window, more = self.joined(window, (sources, seen))
            states = np.where(states > self.max_states, states, more)
        return window, states

    def _nothing(self, rows: int) -> Window:
        """The window of what is constant."""
        return self.window(np.full(rows, self.circuit.num_signals))

    def _append(self, signals: np.ndarray, values: np.ndarray) -> None:
        """Keeps the values of signals in as many states: `(rows, states)`."""
        self._start[signals] = len(self._values) + np.arange(len(signals)) * values.shape[1]
        self._values = np.concatenate([self._values, values.reshape(-1)])
        constant = (values == values[:, :1]).all(1)
        self.constant[signals[constant]] = values[constant, 0]


def addresses(values: np.ndarray) -> np.ndarray:
    """Bits of pins, the least significant first, to addresses: `(pins, …)` to `(…)`."""
    address = np.zeros(values.shape[1:], np.intp)
    for pin, bits in enumerate(values):
        address |= bits.astype(np.intp) << pin
    return address


def _ascending(sources: np.ndarray, seen: np.ndarray) -> Window:
    order = np.argsort(sources, axis=1, kind="stable")
    return np.take_along_axis(sources, order, 1), np.take_along_axis(seen, order, 1)
