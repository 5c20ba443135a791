"""Detectors of edges and colours: kernels of small whole numbers, whose responses are compared as the colours are.

A kernel is `(height, width, channels)` as nested lists; with one channel it reads the sum of an image's channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from difflut.registry import checked, register_detector

Kernel = list[list[list[int]]]

EDGES = (
    ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),  # Sobel
    ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    ((0, 1, 0), (1, -4, 1), (0, 1, 0)),  # Laplace
    ((-2, -1, 0), (-1, 0, 1), (0, 1, 2)),  # diagonal Sobel
    ((0, 1, 2), (-1, 0, 1), (-2, -1, 0)),
)
OPPONENTS = ((1, -1, 0), (1, 1, -2))  # red and green, yellow and blue


@register_detector("edges")
@checked
def edges(channels: Sequence[int] = (1,), box: int = 1, spacing: int = 1) -> list[Kernel]:
    """Five kernels: Sobel along both axes, Laplace, and Sobel along both diagonals.

    Args:
        channels: The weight of each channel; a single one is that of all channels.
        box: Height and width of the square whose pixels are summed first, which smooths.
        spacing: Distance from one point of the 3 x 3 kernels to the next, in pixels.

    Raises:
        ValueError: `box` or `spacing` is not positive.
    """
    return [_kernel(torch.tensor(points), channels, box, spacing) for points in EDGES]


@register_detector("colours")
@checked
def colours(weights: Sequence[Sequence[int]] = OPPONENTS, box: int = 3) -> list[Kernel]:
    """Differences of colours, as red less green, and red and green less twice blue.

    Args:
        weights: Weights of the channels, for each kernel.
        box: Height and width of the square whose pixels are summed.

    Raises:
        ValueError: `box` is not positive.
    """
    return [_kernel(torch.ones(1, 1, dtype=torch.int64), channels, box, 1) for channels in weights]


def as_whole(weights: Tensor, most: int) -> list[Kernel]:
    """Kernels `(kernels, height, width, channels)` in whole numbers; the largest of each is `most`.

    Raises:
        ValueError: A kernel has nothing but 0, or a weight is not finite.
    """
    scaled = weights / weights.abs().amax((1, 2, 3), keepdim=True) * most
    if not scaled.isfinite().all():
        raise ValueError(f"kernel {int((~scaled.isfinite()).nonzero()[0, 0])} has no weights: nothing could be learned")
    return scaled.round().long().tolist()


def _kernel(points: Tensor, channels: Sequence[int], box: int, spacing: int) -> Kernel:
    if min(box, spacing) < 1:
        raise ValueError(f"box={box} and spacing={spacing} must be at least 1 pixel")
    height, width = ((size - 1) * spacing + box for size in points.shape)
    spatial = torch.zeros(height, width, dtype=torch.int64)
    for y, line in enumerate(points.tolist()):
        for x, weight in enumerate(line):
            spatial[y * spacing :, x * spacing :][:box, :box] += weight
    return (spatial[..., None] * torch.tensor(list(channels))).tolist()
