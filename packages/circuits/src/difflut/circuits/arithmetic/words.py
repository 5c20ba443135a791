"""Inputs of hardware: features as unsigned words of one width, compared with whole numbers."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.circuit import Circuit

WIDTHS = range(2, 49)


@dataclass(frozen=True)
class InputWords:
    """How features become words, and thresholds the numbers that words are compared with: `word > limit`.

    Attributes:
        width: Bits of a word.
        scales: The power of two that multiplies each feature: `(features,)` exponents; 0 for pixels.
        offset: Added to the word, so that it is never negative; 0 for pixels.
        limits: `(features, K)` integers; below 0 where every word exceeds them.
        needed: Bits that a word would need so that comparisons of words and of floats agree on every input.
    """

    width: int
    scales: np.ndarray
    offset: int
    limits: np.ndarray
    needed: int

    @property
    def exact(self) -> bool:
        """Whether comparisons of words and of floats agree on every input.

        Otherwise they differ for inputs between a threshold and the multiple of `2**-scale` just below it.
        """
        return self.needed <= self.width

    def __str__(self) -> str:
        exactly = "compared as the floats are" if self.exact else f"not exact: that takes {self.needed} bits"
        return f"features are words of {self.width} bits, {exactly}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`(batch, *features)` to words: `ceil(x * 2**scale) + offset`, held within the width; NaN is 0."""
        x = np.asarray(x, np.float32).reshape(len(x), -1).astype(np.float64)
        words = np.clip(np.ceil(np.ldexp(x, self.scales)) + self.offset, 0, 2**self.width - 1)
        return np.nan_to_num(words, nan=0).astype(np.int64)


def pixel_words(circuit: Circuit) -> InputWords:
    """Eight bits for features that are whole numbers from 0 to 255; always exact."""
    limits = np.clip(np.floor(circuit.thresholds), -1, 255).astype(np.int64)
    return InputWords(8, np.zeros(circuit.num_features, int), 0, limits, 8)


def fixed_point_words(circuit: Circuit, max_width: int = 32) -> InputWords:
    """Fixed point, as wide as the thresholds of the feature with the most digits need, but at most `max_width`.

    Each feature has its own scale: its largest threshold just fits. Inputs are rounded up, which leaves `x > t` as it
    is where `t` is a multiple of the grid; thresholds are rounded down to it.

    Raises:
        ValueError: `max_width` is no number from 2 to 48, or a threshold is infinite.
    """
    if max_width not in WIDTHS:
        raise ValueError(f"max_width={max_width} must be from {WIDTHS[0]} to {WIDTHS[-1]} bits")
    thresholds = circuit.thresholds.astype(np.float64)
    if not np.isfinite(thresholds).all():
        raise ValueError("a threshold is infinite or NaN; fit the encoder to finite values")
    # |t| < 2**magnitude, and t is a multiple of 2**-digits.
    magnitude = np.frexp(np.abs(thresholds).max(1, initial=0))[1]
    mantissas, exponents = np.frexp(thresholds)
    integers = np.ldexp(mantissas, 24).astype(np.int64)  # float32 has 24 digits
    lowest = np.log2(np.maximum(integers & -integers, 1)).astype(int)
    digits = np.where(integers == 0, -magnitude[:, None], 24 - lowest - exponents).max(1, initial=-(2**10))
    digits = np.maximum(digits, -magnitude)
    # A sign, the digits, and one more bit so that there is a word above the largest threshold.
    needed = int((digits + magnitude).max(initial=0)) + 2
    width = min(needed, max_width)
    scales = width - 2 - magnitude
    offset = 2 ** (width - 1)
    limits = np.floor(np.ldexp(thresholds, scales[:, None])).astype(np.int64) + offset
    return InputWords(width, scales, offset, limits, needed)
