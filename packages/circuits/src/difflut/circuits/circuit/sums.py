"""Weighted sums of pixels, which a circuit compares with thresholds as it compares pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

MOST = 255  # of a pixel
EXACT = 2**24  # float32 holds all whole numbers below
MOST_DEPTH = 64  # of sums that add sums; detectors have few
ROOM = 2**23  # values that are there at a time: 32 MiB
LARGEST = 128  # sums of a block
SPARSE = 12  # entries of its matrix for each that is not 0, at most


class Block(NamedTuple):
    """Sums as a matrix.

    Attributes:
        made: The values that they are: `(sums,)`.
        sources: The values that they read: `(sources,)`.
        weights: `(sums, sources)` in float32.
    """

    made: np.ndarray
    sources: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class WeightedSums:
    """Whole numbers that are made of a sample's pixels, such as the responses of detectors.

    Values are numbered: first the pixels, then the sums. A sum reads values before its own. Pixels are whole numbers
    from 0 to 255; other inputs are rounded up and held within, NaN is 0.

    Attributes:
        inputs: Pixels of a sample.
        sources: The values that each sum adds: `(sums, terms)`; -1 is none.
        weights: What each is multiplied by: `(sums, terms)` integers.
        features: The values that are compared with thresholds: `(features,)`.
    """

    inputs: int
    sources: np.ndarray
    weights: np.ndarray
    features: np.ndarray

    @property
    def num_sums(self) -> int:
        return len(self.sources)

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """The sums, those first that read pixels alone, then those that read pixels and sums before, and so on.

        Raises:
            ValueError: There are more than `MOST_DEPTH` of these levels.
        """
        level = np.zeros(self.inputs + self.num_sums + 1, np.int64)  # the last is that of no source
        for _ in range(MOST_DEPTH + 1):
            deeper = level[self.sources].max(1, initial=0) + 1
            if (deeper == level[self.inputs : -1]).all():
                return [np.flatnonzero(deeper == number) for number in range(1, level.max() + 1)]
            level[self.inputs : -1] = deeper
        raise ValueError(f"sums add sums in more than {MOST_DEPTH} levels")

    @cached_property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Between which numbers each value lies, whatever the values are that it adds: both `(values,)` in float64."""
        low, high = np.zeros((2, self.inputs + self.num_sums))
        high[: self.inputs] = MOST
        for sums in self.levels:
            ends = self.weights[sums] * np.stack([low[self.sources[sums]], high[self.sources[sums]]])
            ends[:, self.sources[sums] < 0] = 0
            low[self.inputs + sums], high[self.inputs + sums] = ends.min(0).sum(1), ends.max(0).sum(1)
        return low, high

    @cached_property
    def words(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest number and the bits of the word that each value is in hardware, both `(values,)`.

        A word is the value less the lowest number, which is 0 or, for values that may be negative, half the range.
        """
        low, high = (ends.astype(np.int64) for ends in self.ranges)
        bits = np.frexp(np.maximum(high, -low - 1))[1] + (low < 0)
        return np.where(low < 0, -(1 << np.maximum(bits - 1, 0)), 0), bits

    @cached_property
    def blocks(self) -> list[Block]:
        """The sums in an order in which they can be computed, those together that read much the same values."""
        return [block for rows in self.levels for block in self._blocks(rows)]

    def _blocks(self, rows: np.ndarray) -> Iterator[Block]:
        read = self.sources[rows]
        middle = np.where(read < 0, self.inputs + self.num_sums, read).min(1, initial=0) + read.max(1, initial=0)
        ordered = rows[np.argsort(middle, kind="stable")]
        waiting = [ordered[start : start + LARGEST] for start in range(0, len(rows), LARGEST)][::-1]
        while waiting:
            rows = waiting.pop()
            sums, terms = np.nonzero(self.sources[rows] >= 0)
            sources, column = np.unique(self.sources[rows][sums, terms], return_inverse=True)
            if len(rows) > 1 and len(rows) * len(sources) > SPARSE * max(len(terms), 1):
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                continue
            weights = np.zeros((len(rows), len(sources)), np.float32)
            np.add.at(weights, (sums, column), self.weights[rows][sums, terms])
            yield Block(self.inputs + rows, sources, weights)

    def parts(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """What is compared of `(batch, *pixels)`, some samples at a time: which, and `(features, samples)` in float32.

        Memory is bounded.
        """
        x = np.asarray(x).reshape(len(x), self.inputs)
        step = max(ROOM // (self.inputs + self.num_sums), 1)
        for start in range(0, len(x), step):
            samples = slice(start, min(start + step, len(x)))
            yield samples, self._values(x[samples])[self.features]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *pixels)` to what is compared, `(batch, features)` in float32; memory is bounded but for these."""
        features = np.empty((len(self.features), len(x)), np.float32)
        for samples, part in self.parts(x):
            features[:, samples] = part
        return features.T

    def _values(self, x: np.ndarray) -> np.ndarray:  # (batch, pixels) to (values, batch)
        values = np.empty((self.inputs + self.num_sums, len(x)), np.float32)
        values[: self.inputs] = np.clip(np.ceil(np.nan_to_num(x.astype(np.float32), nan=0)), 0, MOST).T
        for block in self.blocks:  # whole numbers below 2**24, which floats hold in any order of adding
            values[block.made] = block.weights @ values[block.sources]
        return values
