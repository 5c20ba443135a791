"""Comparisons arranged for the machine: feature by feature, and in groups of 64 that read neighbouring pixels."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.circuit import Circuit

LANES = 64


@dataclass(frozen=True)
class Encoding:
    """Comparisons of floats, one after another, and of pixels, 64 at a time.

    Attributes:
        features: Number of features of an input.
        feature: The feature of each comparison, ascending: `(comparisons,)`.
        limit: It holds where the feature exceeds this: `(comparisons,)`, float32.
        start: The first feature that a group reads: `(groups,)`.
        lane_feature: The feature of each comparison of a group, counted from there: `(groups * 64,)`.
        pixel: Pixel from which on it holds …: `(groups * 64,)`.
        possible: … if at all: a bit for each lane: `(groups,)` uint64.
        place: Place of each comparison: 64 times its group plus its lane: `(comparisons,)`.
    """

    features: int
    feature: np.ndarray
    limit: np.ndarray
    start: np.ndarray
    lane_feature: np.ndarray
    pixel: np.ndarray
    possible: np.ndarray
    place: np.ndarray


def encoding(circuit: Circuit, comparisons: np.ndarray) -> tuple[Encoding, np.ndarray]:
    """The arrangement of comparisons, feature and threshold index each: `(comparisons, 2)`; and the place of each."""
    order = np.lexsort((comparisons[:, 1], comparisons[:, 0]))
    features, indices = comparisons[order].T
    limits = circuit.thresholds[features, indices]
    start, place = _groups(features)
    lane, pixel = np.zeros(len(start) * LANES, np.uint8), np.full(len(start) * LANES, 255, np.uint8)
    lane[place] = features - start[place // LANES]
    pixels = np.clip(np.floor(limits) + 1, 0, 256)  # the lowest that exceeds the threshold
    pixel[place] = np.minimum(pixels, 255)
    possible = np.zeros(len(start) * LANES, bool)
    possible[place] = pixels < 256
    words = np.packbits(possible.reshape(-1, LANES), axis=1, bitorder="little").view("<u8").reshape(-1)
    places = np.empty_like(place)
    places[order] = place
    return Encoding(circuit.num_features, features, limits, start, lane, pixel, words, place), places


def _groups(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each group the first feature it reads, at least one group; for each comparison its place.

    A group begins at the feature of the one before it where it can, so that a row's pixels are loaded once for both.
    """
    starts, places, lane = [0], [], LANES
    for index, feature in enumerate(features.tolist()):
        if lane == LANES or feature >= starts[-1] + LANES:
            last = int(features[min(index + LANES, len(features)) - 1])
            starts.append(starts[-1] if last < starts[-1] + LANES else feature)
            lane = 0
        places.append((len(starts) - 2) * LANES + lane)
        lane += 1
    return np.array(starts[1:] or [0]), np.array(places, np.int64)
