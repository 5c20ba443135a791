"""Inputs of hardware: features as unsigned words of one width, compared with whole numbers."""

from dataclasses import dataclass
from math import prod

import numpy as np

from difflut.circuits.circuit import Circuit

WIDTHS = range(2, 49)
NONE = -(2**10)  # stands for the digits of 0, below those of any float32
MANTISSA = 52  # bits that a float64 has behind the leading one


@dataclass(frozen=True)
class InputWords:
    """How features become words, and thresholds the numbers that words are compared with: `word > limit`.

    Attributes:
        width: Bits of a word.
        scales: The power of two that multiplies each feature: `(features,)` exponents; 0 for pixels.
        offsets: Number that is then added, so that words are never negative: `(features,)` integers; 0 for pixels.
        limits: `(features, K)` integers; below 0 where every word exceeds them.
        compared: Bits of the words that are compared with them: `(features,)`; those of sums, see `WeightedSums.words`,
            are others than the inputs'.
        needed: Bits that a word would need so that comparisons of words and of floats agree on every input.
    """

    width: int
    scales: np.ndarray
    offsets: np.ndarray
    limits: np.ndarray
    compared: np.ndarray
    needed: int

    @property
    def exact(self) -> bool:
        """Whether comparisons of words and of floats agree on every input.

        Otherwise they differ for inputs between a threshold and the multiple of `2**-scale` just below it.
        """
        return self.needed <= self.width

    @property
    def pixels(self) -> bool:
        """Whether words are the features themselves."""
        return not (self.scales.any() or self.offsets.any())

    def __str__(self) -> str:
        exactly = "compared as the floats are" if self.exact else f"not exact: that takes {self.needed} bits"
        return f"features are words of {self.width} bits, {exactly}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *features)` to words: `ceil(x * 2**scale) + offset`, held within the width; NaN is 0."""
        x = np.asarray(x, np.float32)
        x = x.reshape(len(x), prod(x.shape[1:])).astype(np.float64)
        words = np.clip(np.ceil(np.ldexp(x, self.scales)) + self.offsets, 0, 2**self.width - 1)
        return np.nan_to_num(words, nan=0).astype(np.int64)


def input_words(circuit: Circuit, pixels: bool) -> InputWords:
    """The form in which hardware takes inputs: bytes as pixels, other numbers in fixed point."""
    return pixel_words(circuit) if pixels else fixed_point_words(circuit)


def pixel_words(circuit: Circuit) -> InputWords:
    """Eight bits for inputs that are whole numbers from 0 to 255; always exact."""
    lowest, bits = np.zeros(circuit.num_features, np.int64), np.full(circuit.num_features, 8)
    if circuit.sums:
        lowest, bits = (each[circuit.sums.features] for each in circuit.sums.words)
    zeros = np.zeros(circuit.sample_size, np.int64)
    return InputWords(8, zeros, zeros, limits_of_words(circuit.thresholds, lowest, bits), bits, 8)


def limits_of_words(thresholds: np.ndarray, lowest: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """What words of whole numbers are compared with, from thresholds `(features, K)`.

    A word is a number less the lowest of its feature, in so many bits: both `(features,)`.
    """
    limits = np.floor(thresholds.astype(np.float64)) - lowest[:, None]
    return np.clip(limits, -1, (1 << bits[:, None]) - 1).astype(np.int64)


def fixed_point_words(circuit: Circuit, max_width: int = 32) -> InputWords:
    """Fixed point, as wide as the thresholds of the feature with the most digits need, but at most `max_width`.

    Words of a feature go from its smallest threshold to its largest, or from 0 where it has one threshold alone; what
    is beyond is held there. Inputs are rounded up, which leaves `x > t` as it is where `t` is a multiple of the grid;
    thresholds are rounded down to it. `Encoder.snap` moves thresholds to a grid of few bits. Sums are of pixels, which
    have eight bits.

    Raises:
        ValueError: `max_width` is no number from 2 to 48, or a threshold is infinite.
    """
    if max_width not in WIDTHS:
        raise ValueError(f"max_width={max_width} must be from {WIDTHS[0]} to {WIDTHS[-1]} bits")
    if circuit.sums:
        return pixel_words(circuit)
    thresholds = circuit.thresholds.astype(np.float64)
    if not np.isfinite(thresholds).all():
        raise ValueError("a threshold is infinite or NaN; fit the encoder to finite values")
    compared = thresholds if thresholds.shape[1] else np.zeros((circuit.num_features, 1))  # a code of one level
    low, high = compared.min(1), compared.max(1)
    alone = low == high
    low, high = np.where(alone, np.minimum(low, 0), low), np.where(alone, np.maximum(high, 0), high)
    digits = _digits(thresholds)
    # A word for each multiple from the lowest to the highest, and one more that exceeds all.
    needed = np.frexp(np.ldexp(high, digits) - np.ldexp(low, digits) + 1)[1]
    width = int(min(needed.max(initial=1), max_width))
    # Words of fewer bits are shifted to the left, as far as float64 can tell multiples apart.
    magnitude = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    scales = np.minimum(digits + width - needed, MANTISSA - magnitude)
    scales -= np.floor(np.ldexp(high, scales)) - np.floor(np.ldexp(low, scales)) > 2**width - 2
    below = 2 ** np.maximum(scales - digits, 0) - 1  # the lowest bits of a limit, which then do not matter
    offsets = below.astype(np.int64) - np.floor(np.ldexp(low, scales)).astype(np.int64)
    limits = np.floor(np.ldexp(thresholds, scales[:, None])).astype(np.int64) + offsets[:, None]
    return InputWords(width, scales, offsets, limits, np.full(len(limits), width), int(needed.max(initial=1)))


def _digits(thresholds: np.ndarray) -> np.ndarray:
    """The least power of two that makes all thresholds of a feature whole: `(features,)` exponents."""
    mantissas, exponents = np.frexp(thresholds)
    integers = np.ldexp(mantissas, 24).astype(np.int64)  # float32 has 24 digits
    lowest = np.log2(np.maximum(integers & -integers, 1)).astype(int)
    digits = np.where(integers == 0, NONE, 24 - lowest - exponents).max(1, initial=NONE)
    return np.where(digits == NONE, 0, digits)
