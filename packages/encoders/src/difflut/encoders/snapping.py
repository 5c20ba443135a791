"""Thresholds that words of few bits tell apart: what the comparisons of hardware cost goes with the bits."""

import torch
from torch import Tensor

PIXEL_BITS = 8


def snapped(thresholds: Tensor, word_bits: int, pixels: bool) -> Tensor:
    """The nearest thresholds that compare words of `word_bits` bits.

    Pixels, whole numbers from 0 to 255, are compared by their highest bits. Other features are words on a grid of their
    own, a power of two, from the smallest of their thresholds to the largest; one threshold alone from 0.

    Args:
        thresholds: `(features, K)`, ascending.

    Returns:
        float64 `(features, K)`, ascending.
    """
    thresholds = thresholds.double()
    if pixels:
        step = 2.0 ** max(PIXEL_BITS - word_bits, 0)
        first = thresholds.floor() + 1  # the lowest pixel that exceeds
        nearest = ((first / step).round() * step).clamp(step, 2**PIXEL_BITS - step)
        return torch.where((first > 0) & (first < 2**PIXEL_BITS), nearest - 0.5, thresholds)
    low, high = thresholds[:, :1], thresholds[:, -1:]
    alone = low == high
    low, high = torch.where(alone, low.clamp(max=0), low), torch.where(alone, high.clamp(min=0), high)
    # A word that exceeds the largest threshold is needed, and either end may be rounded away from the other.
    steps = max(2**word_bits - 3, 1)
    grid = torch.where(high > low, torch.exp2(((high - low) / steps).log2().ceil()), 1.0)
    nearest = (thresholds / grid).round() * grid
    merged = ~alone & (nearest[:, :1] == nearest[:, -1:])  # then words would have no range
    nearest[:, -1:] += grid * merged
    return nearest
