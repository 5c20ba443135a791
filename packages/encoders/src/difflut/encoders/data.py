"""Training inputs as a source of statistics, in bounded memory: an array, or a stream of batches read once."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from difflut.encoders.quantiles import pooled_quantiles, quantiles, sample_rows

BLOCK_VALUES = 2**22  # worked on at a time: 16 MiB in float32
SAMPLE_ROWS = 100_000  # kept of a stream for its quantiles
SAMPLE_VALUES = 2**28  # and no more than this, 1 GiB, where rows are wide


class Data(ABC):
    """Training inputs `(rows, *feature_shape)`, of which an encoder asks one statistic.

    Statistics are float64 on the CPU, with one entry for each feature, or a single one for all values if `pooled`.
    They are those of the values in float32, because encoders compare in float32.

    Attributes:
        feature_shape: The shape of a row; of a stream it is known once a statistic was asked.
    """

    def __init__(self, pooled: bool = False) -> None:
        self.pooled = pooled
        self.feature_shape: tuple[int, ...] = ()

    def range(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest value."""
        low, high = torch.tensor(math.inf), torch.tensor(-math.inf)
        for block in self._blocks():
            block_low, block_high = block.aminmax(dim=0)
            low, high = torch.minimum(low.to(block), block_low), torch.maximum(high.to(block), block_high)
        return low.double().cpu(), high.double().cpu()

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
    def quantiles(self, fractions: Tensor) -> Tensor:
        """Quantiles at `fractions` `(k,)`, interpolated linearly between values: `(features or 1, k)`."""

    @abstractmethod
    def _batches(self) -> Iterable[Any]: ...

    def _blocks(self) -> Iterator[Tensor]:
        for rows in self._rows():
            yield rows.reshape(-1, 1) if self.pooled else rows

    def _rows(self) -> Iterator[Tensor]:  # (rows, features) in float32
        total, wrong = 0, torch.tensor(0)
        for batch in self._batches():
            if math.prod(batch.shape) == 0:
                continue
            size = max(1, BLOCK_VALUES // math.prod(batch.shape[1:]))
            for start in range(0, len(batch), size):
                block = _floats(batch[start : start + size]).flatten(1)
                total += block.numel()
                wrong = wrong.to(block.device) + (~block.isfinite()).sum(dim=0)
                yield block
        if total == 0:
            raise ValueError("no training inputs to fit on; give at least one row, and an iterator not yet used up")
        if count := int(wrong.sum()):
            raise ValueError(
                f"{count} of {total} training inputs are NaN or infinite in float32, first in feature "
                f"{int(wrong.nonzero()[0])}; remove or replace them before fit"
            )


class ArrayData(Data):
    """A tensor or a numpy array."""

    def __init__(self, x: Any, pooled: bool = False) -> None:
        super().__init__(pooled)
        self._array, self.feature_shape = _as_array(x)

    def quantiles(self, fractions: Tensor) -> Tensor:
        for _ in self._rows():  # only to check the values
            pass
        if self.pooled:
            return pooled_quantiles(self._blocks, math.prod(self._array.shape), fractions)
        width = max(1, BLOCK_VALUES // len(self._array))
        features = torch.arange(math.prod(self.feature_shape))
        return torch.cat([quantiles(self._columns(some), fractions) for some in features.split(width)])

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

    def quantiles(self, fractions: Tensor) -> Tensor:
        sample = sample_rows(self._rows(), SAMPLE_ROWS, SAMPLE_VALUES)
        return ArrayData(sample, self.pooled).quantiles(fractions)

    def _batches(self) -> Iterator[Any]:
        for number, batch in enumerate(self._source):
            array, shape = _as_array(batch)
            if number == 0:
                self.feature_shape = shape
            elif shape != self.feature_shape:
                raise ValueError(
                    f"all batches need rows of one shape; batch 0 has {self.feature_shape}, batch {number} has {shape}"
                )
            yield array


def _as_array(x: Any) -> tuple[Any, tuple[int, ...]]:
    if not hasattr(x, "__array__"):
        raise TypeError(
            f"fit takes a tensor, an array, or an iterable of them; a batch is a {type(x).__name__}. "
            f"For a loader of pairs give `(inputs for inputs, _ in loader)`"
        )
    array = x if isinstance(x, Tensor) else x.__array__()
    if array.ndim == 0:
        raise ValueError("training inputs need an axis of rows; got a single number")
    return (array[:, None] if array.ndim == 1 else array), tuple(array.shape[1:])


def _floats(array: Any) -> Tensor:
    return array.to(torch.float32) if isinstance(array, Tensor) else torch.from_numpy(array.astype("float32"))
