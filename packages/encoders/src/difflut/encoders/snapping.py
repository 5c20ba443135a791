"""Thresholds that words of few bits tell apart: fewer bits make the comparisons in hardware cheaper."""

import torch
from torch import Tensor

PIXEL_BITS = 8


def snapped_whole(thresholds: Tensor, word_bits: int, low: Tensor | int = 0, bits: Tensor | int = PIXEL_BITS) -> Tensor:
    """The nearest thresholds that compare the `word_bits` highest bits of features that are whole numbers.

    Args:
        thresholds: `(features, K)`, ascending.
        low: The lowest number of the words that features are, here and below `(features, 1)`; by default of pixels.
        bits: Bits of these words.

    Returns:
        float64 `(features, K)`, ascending.
    """
    thresholds, bits = thresholds.double(), torch.as_tensor(bits, dtype=torch.float64, device=thresholds.device)
    step, end = torch.exp2((bits - word_bits).clamp(min=0)), low + torch.exp2(bits)
    first = thresholds.floor() + 1  # the lowest number that exceeds
    nearest = torch.minimum(torch.maximum((first / step).round() * step, low + step), end - step)
    return torch.where((first > low) & (first < end), nearest - 0.5, thresholds)


def snapped(thresholds: Tensor, word_bits: int) -> Tensor:
    """The nearest thresholds that compare words of `word_bits` bits.

    Features are words on a grid of their own, a power of two, from the smallest of their thresholds to the largest; one
    threshold alone from 0.

    Args:
        thresholds: `(features, K)`, ascending.

    Returns:
        float64 `(features, K)`, ascending.
    """
    thresholds = thresholds.double()
    low, high = thresholds[:, :1], thresholds[:, -1:]
    alone = low == high
    low, high = torch.where(alone, low.clamp(max=0), low), torch.where(alone, high.clamp(min=0), high)
    # A word that exceeds the largest threshold is needed, and either end may be rounded away from the other.
    steps = max(2**word_bits - 3, 1)
    grid = torch.where(high > low, torch.exp2(((high - low) / steps).log2().ceil()), 1.0)
    nearest = (thresholds / grid).round() * grid
    merged = ~alone & (nearest[:, :1] == nearest[:, -1:])  # all thresholds became one, so words would have no range
    nearest[:, -1:] += grid * merged
    return nearest
