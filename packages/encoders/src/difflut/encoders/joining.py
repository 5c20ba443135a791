"""Encoders of images made from others: mirrored left to right, and several as one."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from difflut.encoders.data import image_shape
from difflut.encoders.detectors import Kernel
from difflut.encoders.encoder import Encoder
from difflut.encoders.responses import bank


def mirrored(encoder: Encoder, height: int, width: int) -> Encoder:
    """An encoder whose bits of an image are those that the given one has of the mirrored image, at the mirrored pixels.

    Its detectors are mirrored, and its thresholds where each pixel has its own.

    Args:
        encoder: A fitted one; its features are those of `height * width` pixels, row by row.
    """
    thresholds = encoder.hard_thresholds()
    if len(thresholds) > 1:
        thresholds = thresholds.unflatten(0, (height, width, -1)).flip(1).flatten(0, 2)
    return encoder.remade(thresholds, [mirrored_kernel(kernel) for kernel in encoder.detectors or ()])


def mirrored_kernel(kernel: Kernel) -> Kernel:
    """The kernel whose response to an image is that of the given one to the mirrored image, at the mirrored pixel."""
    weights = torch.tensor(kernel).flip(1)
    # An even kernel reaches further to the right of its pixel. Mirrored it reaches further to the left: with a column
    # of zeros at its right end it is an odd one.
    return torch.nn.functional.pad(weights, (0, 0, 0, 1 - weights.shape[1] % 2)).tolist()


def side_by_side(encoders: Sequence[Encoder]) -> tuple[Encoder, list[Tensor]]:
    """One encoder that gives all bits of several, those of equal kernels and thresholds once.

    Args:
        encoders: Fitted ones of one kind, for images of one shape, which may differ in detectors and in thresholds.

    Returns:
        The encoder; and for each of the given ones, which of its bits each of theirs is: `(output_size,)`.

    Raises:
        ValueError: They differ, and one has no detectors.
    """
    first = encoders[0]
    if all(_is_same(first, other) for other in encoders[1:]):
        return deepcopy(first), [torch.arange(first.output_size)] * len(encoders)
    if not all(encoder.detectors for encoder in encoders):
        raise ValueError(
            f"encoders without detectors are one where they have the same thresholds, got {len(encoders)} that differ; "
            "mirrored ones are alike with feature_wise='channels' or False"
        )
    height, width, channels = image_shape(first.feature_shape)
    # With detectors inputs are whole numbers. So a channel whose thresholds differ is the response of a single pixel.
    pixels: list[Kernel] = [[[row]] for row in torch.eye(channels, dtype=torch.int64).tolist()]
    banks = [[*pixels, *(encoder.detectors or ())] for encoder in encoders]
    weights = iter(bank([kernel for kernels in banks for kernel in kernels], channels).weights.numpy())
    numbers: dict[tuple[bytes, bytes], int] = {}
    found, kernels, thresholds = list[list[int]](), list[Kernel](), list[Tensor]()
    for encoder, own in zip(encoders, banks, strict=True):
        compared = encoder.hard_thresholds().cpu()
        planes = compared.expand(height * width * len(own), -1).unflatten(0, (-1, len(own))).transpose(0, 1)
        found.append([])
        for kernel, plane in zip(own, planes.contiguous(), strict=True):
            key = next(weights).tobytes(), plane.numpy().tobytes()
            if key not in numbers:
                numbers[key] = len(numbers)
                kernels.append(kernel)
                thresholds.append(plane)
            found[-1].append(numbers[key])
    rows = torch.stack(thresholds, 1).flatten(0, 1).to(first.thresholds.device)
    bits = torch.arange(len(rows) * first.num_bits).view(height * width, len(kernels), first.num_bits)
    return first.remade(rows, kernels[channels:]), [bits[:, which].flatten() for which in found]


def _is_same(first: Encoder, other: Encoder) -> bool:
    same = first.detectors == other.detectors
    return same and torch.equal(first.hard_thresholds(), other.hard_thresholds())
