"""The responses of detectors to pixels: whole numbers, the same on every device."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.encoders.data import BLOCK_VALUES, as_array, image_shape
from difflut.encoders.detectors import Kernel

MOST = 255  # the largest value of a pixel
EXACT = 2**24  # float32 holds all whole numbers below this one


@runtime_checkable
class Learner(Protocol):
    """Detectors that are learned from the training images, as `detectors.clusters`."""

    def start(self) -> list[Kernel]:
        """As many kernels as will be learned, which hold their place until then."""

    def learn(self, x: Any) -> list[Kernel]:
        """The kernels, from an array or tensor of images `(rows, height, width[, channels])`."""


class Bank(NamedTuple):
    """Kernels of one size, each at its place about the pixel that it belongs to.

    Attributes:
        weights: int64 `(detectors, channels, height, width)`.
        above, below, left, right: Distance that they reach from that pixel.
    """

    weights: Tensor
    above: int
    below: int
    left: int
    right: int

    @property
    def low(self) -> Tensor:
        """The lowest response of each detector: `(detectors,)`."""
        return MOST * self.weights.clamp(max=0).sum((1, 2, 3))

    @property
    def high(self) -> Tensor:
        """The highest response of each detector: `(detectors,)`."""
        return MOST * self.weights.clamp(min=0).sum((1, 2, 3))


def as_kernels(detectors: Iterable[Any]) -> list[Kernel]:
    """Kernels, lists of kernels, and the starts of those to be learned, as one list.

    Raises:
        ValueError: One is no list of whole numbers `(height, width, channels)`, or holds nothing but 0.
    """
    given = [entry.start() if isinstance(entry, Learner) else entry for entry in detectors]
    kernels = [kernel for entry in given for kernel in ([entry] if _depth(entry) < 4 else entry)]
    return [_as_kernel(kernel, number) for number, kernel in enumerate(kernels)]


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list | tuple) else 0


def _as_kernel(kernel: Any, number: int) -> Kernel:
    try:
        array = torch.tensor(kernel)
    except (TypeError, ValueError, RuntimeError):  # lists of different lengths, no numbers, or too large ones
        array = torch.empty(0)
    if array.dim() != 3 or array.dtype != torch.int64 or not array.any():
        raise ValueError(
            f"detectors[{number}] must be lists (height, width, channels) of whole numbers, not all 0; got {kernel!r}"
        )
    return array.tolist()


def bank(kernels: Sequence[Kernel], channels: int) -> Bank:
    """The kernels of images with so many channels.

    Raises:
        ValueError: A kernel has another number of channels, or a response may be too large for float32.
    """
    arrays = [torch.tensor(kernel) for kernel in kernels]
    for number, array in enumerate(arrays):
        if array.shape[2] not in (1, channels):
            raise ValueError(f"detectors[{number}] reads {array.shape[2]} channels, the images have {channels}")
        if (most := MOST * int(array.abs().sum()) * channels // array.shape[2]) >= EXACT:
            raise ValueError(f"detectors[{number}] may respond {most}; float32 is exact below {EXACT}: smaller weights")
    above, left = (max((array.shape[axis] - 1) // 2 for array in arrays) for axis in (0, 1))
    below, right = (max(array.shape[axis] // 2 for array in arrays) for axis in (0, 1))
    weights = torch.zeros(len(arrays), channels, above + 1 + below, left + 1 + right, dtype=torch.int64)
    for placed, array in zip(weights, arrays, strict=True):
        height, width, _ = array.shape
        y, x = above - (height - 1) // 2, left - (width - 1) // 2
        placed[:, y : y + height, x : x + width] = array.permute(2, 0, 1)
    return Bank(weights, above, below, left, right)


def as_pixels(x: Tensor) -> Tensor:
    """Whole numbers from 0 to 255 in float32: other numbers are rounded up and held within, NaN is 0."""
    return x.float() if x.dtype == torch.uint8 else x.float().nan_to_num(nan=0).ceil().clamp(0, MOST)


def check_pixels(x: Tensor) -> None:
    """Raises a `ValueError` where a value is not a whole number from 0 to 255."""
    wrong = as_pixels(x) != x
    if x.dtype != torch.uint8 and wrong.any():
        raise ValueError(
            f"detectors need pixels, whole numbers from 0 to {MOST}; got {x[wrong][0].item():g}: give the images as "
            "bytes, or leave out the detectors"
        )


def with_responses(x: Tensor, kernels: Sequence[Kernel]) -> Tensor:
    """Images with a channel more for each detector.

    At the borders an image goes on as its outermost pixels. Working memory is bounded.

    Args:
        x: `(batch, height, width, channels)`, see `as_pixels`.

    Returns:
        Whole numbers in float32 `(batch, height, width, channels + detectors)`.
    """
    detectors = bank(kernels, x.shape[3])
    size = _rows_at_once(x.shape[1:], len(kernels))
    result = torch.empty(*x.shape[:3], x.shape[3] + len(kernels), device=x.device)
    for images, features in zip(x.split(size), result.split(size), strict=True):
        pixels = as_pixels(images)
        features[..., : x.shape[3]] = pixels
        features[..., x.shape[3] :] = _responses(pixels.permute(0, 3, 1, 2), detectors).permute(0, 2, 3, 1)
    return result


def response_rows(images: Any, kernels: Sequence[Kernel]) -> Tensor:
    """Training images `(rows, height, width[, channels])` with a channel more for each detector, as small integers.

    Raises:
        ValueError: They are no images, or a value is none that a pixel has.
        TypeError: They are no array.
    """
    array, shape = as_array(images)
    shape = image_shape(shape)
    detectors = bank(kernels, shape[2])
    small = max(int(detectors.high.max()), -int(detectors.low.min())) < 2**15
    dtype, size = torch.int16 if small else torch.int32, _rows_at_once(shape, len(kernels))
    device = array.device if isinstance(array, Tensor) else None
    rows = torch.empty(len(array), *shape[:2], shape[2] + len(kernels), dtype=dtype, device=device)
    for start in range(0, len(array), size):
        block = torch.as_tensor(array[start : start + size]).reshape(-1, *shape)
        check_pixels(block)
        rows[start : start + size] = with_responses(block, kernels)
    return rows


def word_ranges(kernels: Sequence[Kernel], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The lowest number and the bits of the words that features are in hardware: pixels, and signed responses.

    Args:
        shape: Shape of an image, `(height, width, channels)`.

    Returns:
        Both `(features, 1)` in float64.
    """
    detectors = bank(kernels, shape[2])
    pairs = [(0, MOST)] * shape[2] + list(zip(detectors.low.tolist(), detectors.high.tolist(), strict=True))
    signed = [low < 0 for low, _ in pairs]
    bits = torch.tensor([max(high, -low - 1).bit_length() + (low < 0) for low, high in pairs])
    low = torch.where(torch.tensor(signed), -(2.0 ** (bits - 1)), 0.0)
    low, bits = (of.double().repeat(math.prod(shape[:2])).unsqueeze(1) for of in (low, bits))
    return low, bits


def _rows_at_once(shape: Sequence[int], detectors: int) -> int:
    return max(1, BLOCK_VALUES // max(math.prod(shape[:2]) * (shape[2] + detectors), 1))


def _responses(pixels: Tensor, detectors: Bank) -> Tensor:  # both (batch, channels, height, width)
    # A CPU sums products, which float32 holds exactly in any order. A GPU may take a quicker way, whose fractions are
    # then small enough to be rounded off.
    dtype = torch.float64 if pixels.is_cuda else torch.float32
    borders = (detectors.left, detectors.right, detectors.above, detectors.below)
    with torch.autocast(pixels.device.type, enabled=False):
        padded = F.pad(pixels.to(dtype), borders, mode="replicate")
        return F.conv2d(padded, detectors.weights.to(padded)).round_()
