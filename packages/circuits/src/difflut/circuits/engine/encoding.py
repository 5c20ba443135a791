"""Comparisons arranged for the machine: in groups of 64 that read neighbouring bytes of an input."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.circuit import Circuit

LANES = 64
MOST_LEVELS = 255


@dataclass(frozen=True)
class Encoding:
    """Comparisons of bytes: of pixels, or of the levels that floats have become.

    A float becomes the number of used thresholds that it exceeds. That is a byte for each 255 of them: a feature has
    `parts` bytes, those of all features' first parts come first.

    Attributes:
        thresholds: Thresholds that are used, ascending, infinity behind them: `(parts, levels, features)`, float32.
        start: The first byte that a group reads: `(groups,)`.
        byte: The byte of each comparison, counted from there: `(groups, 64)`.
        level: Level from which on each comparison holds: `(groups, 64)`.
        pixel: Pixel from which on it holds …: `(groups, 64)`.
        possible: … if at all: a bit for each lane: `(groups,)` uint64.
        place: Place of each comparison: 64 times its group plus its lane: `(comparisons,)`.
    """

    thresholds: np.ndarray
    start: np.ndarray
    byte: np.ndarray
    level: np.ndarray
    pixel: np.ndarray
    possible: np.ndarray
    place: np.ndarray


def encoding(circuit: Circuit, comparisons: np.ndarray) -> Encoding:
    """The arrangement of comparisons, feature and threshold index each: `(comparisons, 2)`."""
    order = np.lexsort((comparisons[:, 1], comparisons[:, 0]))
    features, indices = comparisons[order].T
    first = np.searchsorted(features, features)
    parts, ranks = np.divmod(np.arange(len(features)) - first, MOST_LEVELS)
    limits = circuit.thresholds[features, indices]
    shape = int(parts.max(initial=0)) + 1, int(ranks.max(initial=-1)) + 1, circuit.num_features
    thresholds = np.full(shape, np.inf, np.float32)
    thresholds[parts, ranks, features] = limits
    by_byte = np.lexsort((ranks, features, parts))
    position = (parts * circuit.num_features + features)[by_byte]
    start, place = _groups(position)
    lanes = np.zeros((3, len(start) * LANES), np.uint8)
    lanes[0, place] = position - start[place // LANES]
    lanes[1] = MOST_LEVELS  # lanes without a comparison; any value will do
    lanes[1, place] = (ranks + 1)[by_byte]
    pixels = np.clip(np.floor(limits) + 1, 0, 256)[by_byte]  # the lowest that exceeds the threshold
    lanes[2, place] = np.minimum(pixels, 255)
    possible = np.zeros(len(start) * LANES, bool)
    possible[place] = pixels < 256
    places = np.empty(len(features), np.int64)
    places[order[by_byte]] = place
    byte, level, pixel = lanes.reshape(3, -1, LANES)
    possible = np.packbits(possible.reshape(-1, LANES), axis=1, bitorder="little").view("<u8").reshape(-1)
    return Encoding(thresholds, start, byte, level, pixel, possible, places)


def _groups(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each group the first byte it reads, at least one group; for each comparison its place.

    A group begins at the byte of the one before it where it can, so that a row's bytes are loaded once for both.
    """
    starts, places, lane = [0], [], LANES
    for index, byte in enumerate(position.tolist()):
        if lane == LANES or byte >= starts[-1] + LANES:
            last = int(position[min(index + LANES, len(position)) - 1])
            starts.append(starts[-1] if last < starts[-1] + LANES else byte)
            lane = 0
        places.append((len(starts) - 2) * LANES + lane)
        lane += 1
    return np.array(starts[1:] or [0]), np.array(places, np.int64)
