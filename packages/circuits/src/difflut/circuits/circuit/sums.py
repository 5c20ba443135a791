"""Weighted sums of pixels, which a circuit compares with thresholds as it compares pixels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MOST = 255  # of a pixel
EXACT = 2**24  # float32 holds all whole numbers below
MOST_DEPTH = 64  # of sums that add sums; detectors have few
ROOM = 2**23  # values that are there at a time: 32 MiB


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

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *pixels)` to what is compared, `(batch, features)` in float32; memory is bounded but for these."""
        x = np.asarray(x).reshape(len(x), self.inputs)
        features = np.empty((len(x), len(self.features)), np.float32)
        step = max(ROOM // (self.inputs + self.num_sums), 1)
        for start in range(0, len(x), step):
            values = self._values(x[start : start + step])
            features[start : start + step] = values[self.features].T
        return features

    def _values(self, x: np.ndarray) -> np.ndarray:  # (batch, pixels) to (values, batch)
        values = np.zeros((self.inputs + self.num_sums, len(x)), np.int32)
        values[: self.inputs] = np.clip(np.ceil(np.nan_to_num(x.astype(np.float32), nan=0)), 0, MOST).T
        for sums in self.levels:
            for sources, weights in zip(self.sources[sums].T, self.weights[sums].T, strict=True):
                adding = sources >= 0
                values[self.inputs + sums[adding]] += weights[adding, None] * values[sources[adding]]
        return values
