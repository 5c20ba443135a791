"""The responses of detectors to pixels: whole numbers, the same on every device."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.encoders.data import BLOCK_VALUES, ArrayData, image_shape
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
        weights: int64 `(kernels, channels, height, width)`.
        above, below, left, right: Distance that they reach from that pixel.
    """

    weights: Tensor
    above: int
    below: int
    left: int
    right: int

    @property
    def low(self) -> Tensor:
        """The lowest response of each kernel: `(kernels,)`."""
        return MOST * self.weights.clamp(max=0).sum((1, 2, 3))

    @property
    def high(self) -> Tensor:
        """The highest response of each kernel: `(kernels,)`."""
        return MOST * self.weights.clamp(min=0).sum((1, 2, 3))

    def of(self, which: Tensor) -> "Bank":
        """The kernels of these numbers alone, at the same places."""
        return self._replace(weights=self.weights[which])

    def behind_pixels(self) -> "Bank":
        """These kernels behind one for each channel, whose responses are the pixels themselves."""
        channels = self.weights.shape[1]
        pixels = torch.zeros(channels, *self.weights.shape[1:], dtype=torch.int64)
        pixels[:, :, self.above, self.left] = torch.eye(channels, dtype=torch.int64)
        return self._replace(weights=torch.cat([pixels, self.weights]))

    def respond(self, padded: Tensor) -> Tensor:
        """The responses to pixels `(batch, channels, height, width)`, with a frame as far as the kernels reach."""
        # A CPU sums products, which float32 holds exactly in any order. A GPU may take a quicker way, whose fractions
        # are then small enough to be rounded off.
        padded = padded.to(torch.float64 if padded.is_cuda else torch.float32)
        with torch.autocast(padded.device.type, enabled=False):
            return F.conv2d(padded, self.weights.to(padded)).round_()


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
    if x.dtype != torch.uint8 and (wrong := as_pixels(x) != x).any():
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
    size = _rows_at_once((*x.shape[1:3], x.shape[3] + len(kernels)))
    result = torch.empty(*x.shape[:3], x.shape[3] + len(kernels), device=x.device)
    for images, features in zip(x.split(size), result.split(size), strict=True):
        pixels = as_pixels(images)
        features[..., : x.shape[3]] = pixels
        features[..., x.shape[3] :] = _responses(pixels, detectors)
    return result


class ResponseData(ArrayData):
    """The pixels of training images and their responses, which are computed anew where they are asked for.

    All of them at once take as many times the memory of the images as there are kernels.

    Args:
        images: `(rows, height, width[, channels])`.
        detectors: Kernels, or a bank for images with so many channels whose responses are all features.

    Raises:
        ValueError: They are no images; or, where a statistic is asked, a value is none that a pixel has.
        TypeError: They are no array.
    """

    def __init__(self, images: Any, detectors: Sequence[Kernel] | Bank, pooled: bool = False) -> None:
        super().__init__(images, pooled)
        self._shape = image_shape(self.feature_shape)
        channels = self._shape[2]
        self._detectors = detectors if isinstance(detectors, Bank) else bank(detectors, channels).behind_pixels()
        self.feature_shape = *self._shape[:2], len(self._detectors.weights)

    def channels(self) -> list[ArrayData]:
        self.range()  # this checks the values, too
        numbers = torch.arange(len(self._detectors.weights)).split(1)
        return [ResponseData(self._array, self._detectors.of(number), pooled=True) for number in numbers]

    def _counted(self) -> tuple[Tensor, Tensor]:
        low, high = int(self._detectors.low.min()), int(self._detectors.high.max())
        rows = torch.zeros(high - low + 1, dtype=torch.int64)
        for block in self._blocks():
            rows += (block.flatten() - low).int().bincount(minlength=len(rows)).cpu()
        values = rows.nonzero().squeeze(1)
        return (values + low).float(), rows[values]

    def _batches(self) -> Iterator[Tensor]:
        size = _rows_at_once(self.feature_shape)
        for start in range(0, len(self._array), size):
            pixels = torch.as_tensor(self._array[start : start + size]).reshape(-1, *self._shape)
            check_pixels(pixels)
            yield _responses(as_pixels(pixels), self._detectors).float()

    def _columns(self, features: Tensor) -> Tensor:
        kernels = len(self._detectors.weights)
        y, x, kernel = torch.unravel_index(features, self.feature_shape)
        columns = []
        for line in y.unique():
            across, along = x[y == line], kernel[y == line]
            left, right = int(across.min()), int(across.max()) + 1
            # Between neighbouring pixels all kernels are asked for, of one pixel alone perhaps few.
            which = along if right == left + 1 else torch.arange(kernels)
            responses = self._detectors.of(which).respond(self._window(int(line), left, right))[:, :, 0]
            columns.append(responses[:, torch.searchsorted(which, along), across - left].float())
        return torch.cat(columns, dim=1)

    def _window(self, line: int, left: int, right: int) -> Tensor:
        """What kernels read at pixels of one line: `(rows, channels, height, width)`."""
        reach, (height, width, _) = self._detectors, self._shape
        y = torch.arange(line - reach.above, line + reach.below + 1).clamp(0, height - 1).unsqueeze(1)
        x = torch.arange(left - reach.left, right + reach.right).clamp(0, width - 1)
        read = self._array[:, y, x] if isinstance(self._array, Tensor) else self._array[:, y.numpy(), x.numpy()]
        return as_pixels(torch.as_tensor(read)).reshape(len(read), y.numel(), x.numel(), -1).permute(0, 3, 1, 2)


def response_batches(batches: Iterable[Any], detectors: Sequence[Kernel]) -> Iterator[Tensor]:
    """The same of a stream of images: float32 `(rows, height, width, channels + detectors)`."""
    for images in batches:
        yield from ResponseData(images, detectors)._batches()


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


def _rows_at_once(shape: Sequence[int]) -> int:
    return max(1, BLOCK_VALUES // max(math.prod(shape), 1))


def _responses(pixels: Tensor, detectors: Bank) -> Tensor:  # both (batch, height, width, channels or kernels)
    borders = (detectors.left, detectors.right, detectors.above, detectors.below)
    padded = F.pad(pixels.permute(0, 3, 1, 2), borders, mode="replicate")
    return detectors.respond(padded).permute(0, 2, 3, 1)
