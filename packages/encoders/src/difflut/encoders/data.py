"""Training inputs as a source of statistics, in bounded memory: an array, or a stream of batches read once."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from difflut.encoders.quantiles import (
    counted_quantiles,
    distinct,
    distinct_of_columns,
    midpoints,
    pooled_quantiles,
    quantiles,
    sample_rows,
)

BLOCK_VALUES = 2**22  # values that are worked on at a time: 16 MiB in float32
LEAST_STEPS = 2**12  # steps of float32 between the ends of a feature: more than an encoder has thresholds
SAMPLE_ROWS = 100_000  # rows of a stream that are kept for its quantiles
SAMPLE_VALUES = 2**28  # values of a stream that are kept at most, where rows are wide: 1 GiB
DISTINCT_VALUES = 2**22  # values that are told apart where all features share their thresholds


class Data(ABC):
    """Training inputs `(rows, *feature_shape)`, of which an encoder asks one statistic.

    Statistics are float64 on the CPU, with one entry for each feature, or a single one for all values if `pooled`.
    They are those of the values in float32, because encoders compare in float32.

    Attributes:
        feature_shape: The shape of a row; of a stream it is known once a statistic was asked.
        low, high: The smallest and the largest value of each feature, pooled or not, once a statistic was asked.
        pixels: Whether all batches that were read are bytes.
    """

    def __init__(self, pooled: bool = False) -> None:
        self.pooled = pooled
        self.pixels = True
        self.feature_shape: tuple[int, ...] = ()
        self.low, self.high = torch.empty(0), torch.empty(0)

    def range(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest value."""
        for _ in self._rows():
            pass
        return self._ends()

    def _ends(self) -> tuple[Tensor, Tensor]:
        low, high = self.low.double(), self.high.double()
        return (low.amin(0, keepdim=True), high.amax(0, keepdim=True)) if self.pooled else (low, high)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the population, merged from blocks (Chan, Golub and LeVeque 1979)."""
        rows, mean, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
        for block in self._blocks():
            values = block.double()
            mean, squares = mean.to(values), squares.to(values)
            block_mean = values.mean(dim=0)
            share = len(values) / (rows + len(values))
            squares = squares + (values - block_mean).square().sum(dim=0) + (block_mean - mean) ** 2 * (rows * share)
            mean = mean + (block_mean - mean) * share
            rows += len(values)
        return mean.cpu(), (squares / rows).sqrt().cpu()

    @abstractmethod
    def quantiles(self, fractions: Tensor, below_largest: bool = False) -> Tensor:
        """Quantiles at `fractions` `(k,)`, interpolated linearly between values: `(features or 1, k)`.

        With `below_largest`, quantiles that all are the largest value of a feature become the largest value below it.
        """

    @abstractmethod
    def midpoints(self, count: int) -> Tensor:
        """`count` midpoints between neighbouring values, see `quantiles.midpoints`: `(features or 1, count)`."""

    @abstractmethod
    def channels(self) -> list["ArrayData"]:
        """The values of each channel of images, pooled.

        Raises:
            ValueError: The inputs are no images.
        """

    @abstractmethod
    def _batches(self) -> Iterable[Any]: ...

    def _blocks(self) -> Iterator[Tensor]:
        for rows in self._rows():
            yield rows.reshape(-1, 1) if self.pooled else rows

    def _rows(self) -> Iterator[Tensor]:  # (rows, features) in float32
        total, wrong, exact = 0, torch.tensor(0), _Extent()
        extent = _Extent()
        for batch in self._batches():
            if math.prod(batch.shape) == 0:
                continue
            self.pixels &= str(batch.dtype).removeprefix("torch.") == "uint8"
            size = max(1, BLOCK_VALUES // math.prod(batch.shape[1:]))
            for start in range(0, len(batch), size):
                part = batch[start : start + size]
                block = _floats(part).flatten(1)
                total += block.numel()
                wrong = wrong.to(block.device) + (~block.isfinite()).sum(dim=0)
                extent.add(block)
                if _is_wide(part):
                    exact.add(_doubles(part).flatten(1), block)
                yield block
        if total == 0:
            raise ValueError("no training inputs to fit on; give at least one row, and an iterator not yet used up")
        if count := int(wrong.sum()):
            raise ValueError(
                f"{count} of {total} training inputs are NaN or infinite in float32, first in feature "
                f"{int(wrong.nonzero()[0])}; remove or replace them before fit"
            )
        exact.check()
        self.low, self.high = extent.low.cpu(), extent.high.cpu()


class _Extent:
    """Smallest and largest value of each feature over blocks `(rows, features)`, and the largest rounding error."""

    def __init__(self) -> None:
        self.low, self.high, self.error = torch.tensor(math.inf), torch.tensor(-math.inf), torch.tensor(0.0)

    def add(self, block: Tensor, rounded: Tensor | None = None) -> None:
        low, high = block.aminmax(dim=0)
        self.low, self.high = torch.minimum(self.low.to(low), low), torch.maximum(self.high.to(high), high)
        if rounded is not None:
            self.error = torch.maximum(self.error.to(low), (block - rounded).abs().amax(dim=0))

    def check(self) -> None:
        """Raises a `ValueError` where rounding leaves fewer than `LEAST_STEPS` steps between the ends of a feature."""
        coarse = (2 * LEAST_STEPS * self.error > self.high - self.low) & (self.high > self.low)
        if coarse.any():
            feature = int(coarse.nonzero()[0])
            low, high, step = (float(ends[feature]) for ends in (self.low, self.high, 2 * self.error))
            raise ValueError(
                f"feature {feature} goes from {low:.17g} to {high:.17g}, where float32 goes in steps of {step:g}; "
                "subtract a common value from it, in all inputs, before they are rounded"
            )


def check_rounding(x: Any, rounded: Any) -> None:
    """Raises a `ValueError` where values `(rows, *feature_shape)` are lost when they are rounded to float32."""
    if _is_wide(x):
        extent = _Extent()
        extent.add(_doubles(x).flatten(1), _floats(rounded).flatten(1))
        extent.check()


class ArrayData(Data):
    """A tensor or a numpy array."""

    def __init__(self, x: Any, pooled: bool = False) -> None:
        super().__init__(pooled)
        self._array, self.feature_shape = as_array(x)

    def quantiles(self, fractions: Tensor, below_largest: bool = False) -> Tensor:
        if self.pooled:
            thresholds = self._pooled_quantiles(fractions)
        else:
            self.range()  # this checks the values, too
            thresholds = torch.cat([quantiles(columns, fractions) for columns in self._column_blocks()])
        low, high = self._ends()
        stuck = (thresholds.float() >= high[:, None]).all(dim=1) & (low < high)
        if below_largest and stuck.any():
            thresholds[stuck] = self._largest_below(high)[stuck, None]
        return thresholds

    def _pooled_quantiles(self, fractions: Tensor) -> Tensor:
        if (counted := self._counted()) is not None:
            return counted_quantiles(*counted, fractions)
        return pooled_quantiles(self._blocks, len(self._array) * math.prod(self.feature_shape), fractions)

    def _largest_below(self, high: Tensor) -> Tensor:
        below = torch.full_like(high, -math.inf)
        for block in self._blocks():
            values = block.double().cpu()
            below = torch.maximum(below, values.masked_fill(values >= high, -math.inf).amax(dim=0))
        return below

    def midpoints(self, count: int) -> Tensor:
        for _ in self._rows():  # only to check the values
            pass
        if not self.pooled:
            return torch.cat([midpoints(*distinct_of_columns(columns), count) for columns in self._column_blocks()])
        pooled = self._counted()
        if pooled is None:  # so many that midpoints lie as near to the quantiles as can be
            return self.quantiles(torch.arange(1, count + 1, dtype=torch.float64) / (count + 1))
        return midpoints(pooled[0].unsqueeze(0), pooled[1].unsqueeze(0), count)

    def _counted(self) -> tuple[Tensor, Tensor] | None:
        """The distinct values of all features and how often each occurs, unless they are too many."""
        return distinct(self._blocks(), DISTINCT_VALUES)

    def channels(self) -> list["ArrayData"]:
        self.range()  # this checks the values, too
        images = self._array.reshape(-1, *image_shape(self.feature_shape))
        return [ArrayData(images[..., channel], pooled=True) for channel in range(images.shape[-1])]

    def _column_blocks(self) -> Iterator[Tensor]:
        width = max(1, BLOCK_VALUES // len(self._array))
        return map(self._columns, torch.arange(math.prod(self.feature_shape)).split(width))

    def _columns(self, features: Tensor) -> Tensor:
        # Picking by index leaves the array as it is; reshaping a permuted one would copy all of it.
        axes = torch.unravel_index(features, self._array.shape[1:])
        if not isinstance(self._array, Tensor):
            return _floats(self._array[:, *(axis.numpy() for axis in axes)])
        index: tuple[slice | Tensor, ...] = (slice(None), *axes)
        return _floats(self._array[index])

    def _batches(self) -> Iterable[Any]:
        return [self._array]


class StreamData(Data):
    """An iterable of tensors or numpy arrays. Each statistic reads it once, so an iterator gives only one."""

    def __init__(self, batches: Iterable[Any], pooled: bool = False) -> None:
        super().__init__(pooled)
        self._source = batches

    def quantiles(self, fractions: Tensor, below_largest: bool = False) -> Tensor:
        sample = sample_rows(self._rows(), SAMPLE_ROWS, SAMPLE_VALUES)
        return ArrayData(sample, self.pooled).quantiles(fractions, below_largest)

    def midpoints(self, count: int) -> Tensor:
        sample = sample_rows(self._rows(), SAMPLE_ROWS, SAMPLE_VALUES)
        return ArrayData(sample, self.pooled).midpoints(count)

    def channels(self) -> list[ArrayData]:
        sample = sample_rows(self._rows(), SAMPLE_ROWS, SAMPLE_VALUES)
        return ArrayData(sample.view(-1, *self.feature_shape)).channels()

    def _batches(self) -> Iterator[Any]:
        for number, batch in enumerate(self._source):
            array, shape = as_array(batch)
            if number == 0:
                self.feature_shape = shape
            elif shape != self.feature_shape:
                raise ValueError(
                    f"all batches need rows of one shape; batch 0 has {self.feature_shape}, batch {number} has {shape}"
                )
            yield array


def as_array(x: Any) -> tuple[Any, tuple[int, ...]]:
    if not hasattr(x, "__array__"):
        raise TypeError(
            f"fit takes a tensor, an array, or an iterable of them; a batch is a {type(x).__name__}. "
            f"For a loader of pairs give `(inputs for inputs, _ in loader)`"
        )
    array = x if isinstance(x, Tensor) else x.__array__()
    if array.ndim == 0:
        raise ValueError("training inputs need an axis of rows; got a single number")
    return (array[:, None] if array.ndim == 1 else array), tuple(array.shape[1:])


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Height, width and channels of `(height, width)` or `(height, width, channels)`.

    Raises:
        ValueError: It is the shape of no image.
    """
    if len(shape) not in (2, 3):
        raise ValueError(
            f"detectors and feature_wise='channels' need images (height, width[, channels]); got {tuple(shape)}"
        )
    height, width, channels = (*shape, 1)[:3]
    return height, width, channels


def _is_wide(array: Any) -> bool:
    """Whether float32 does not hold all values of an array's type."""
    return str(array.dtype).removeprefix("torch.") in ("float64", "int32", "int64", "uint32", "uint64")


def _doubles(array: Any) -> Tensor:
    return array.double() if isinstance(array, Tensor) else torch.from_numpy(array.astype("float64"))


def _floats(array: Any) -> Tensor:
    return array.to(torch.float32) if isinstance(array, Tensor) else torch.from_numpy(array.astype("float32"))
