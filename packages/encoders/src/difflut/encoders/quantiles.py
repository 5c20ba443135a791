"""Quantiles of float32 values without holding more than a block of them."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

DIGIT_BITS = 11
DIGIT_SHIFTS = (22, 11, 0)  # three digits of up to 11 bits make the 32 bits of a float


def quantiles(columns: Tensor, fractions: Tensor) -> Tensor:
    """Quantiles of each column, interpolated linearly, by sorting.

    Args:
        columns: `(rows, features)`.
        fractions: `(k,)`, from 0 to 1.

    Returns:
        float64 `(features, k)` on the CPU.
    """
    ordered = columns.t().contiguous().sort(dim=1).values
    ranks, weight = _ranks(len(columns), fractions)
    low, high = ordered[:, ranks.to(ordered.device)].double().cpu().chunk(2, dim=1)
    return torch.lerp(low, high, weight)


def counted_quantiles(values: Tensor, rows: Tensor, fractions: Tensor) -> Tensor:
    """Quantiles of values of which each occurs in so many rows, interpolated linearly.

    Args:
        values: float32 `(values,)`, ascending and distinct.
        rows: `(values,)`.
        fractions: `(k,)`, from 0 to 1.

    Returns:
        float64 `(1, k)`.
    """
    ranks, weight = _ranks(int(rows.sum()), fractions)
    low, high = values[torch.searchsorted(rows.cumsum(0), ranks, right=True)].double().chunk(2)
    return torch.lerp(low, high, weight).unsqueeze(0)


def midpoints(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """The `count` midpoints between neighbouring values of each feature that split the rows most evenly.

    Args:
        values: float32 `(features, values)`, ascending and distinct; a feature with fewer ends with its highest again.
        rows: Number of rows that have each value, 0 behind the highest: `(features, values)`.

    Returns:
        float32 `(features, count)`, ascending; all midpoints and the highest of them again, where there are no more
        than `count`, and of a single value that value.
    """
    if values.shape[1] == 1:
        return values.expand(-1, count)
    low, high = values[:, :-1], values[:, 1:]
    # Rounded to float32 a midpoint may reach the value above it, which must stay above the threshold.
    middle = ((low.double() + high.double()) / 2).float()
    middle = torch.where(middle < high, middle, low)
    ranks = torch.arange(1, count + 1, dtype=torch.float64) * rows.sum(dim=1, keepdim=True) / (count + 1)
    below = rows.cumsum(1)[:, :-1].double()
    nearest = torch.searchsorted((below[:, :-1] + below[:, 1:]) / 2, ranks)
    present = (rows > 0).sum(dim=1, keepdim=True) - 1
    chosen = torch.where(present <= count, torch.arange(count), nearest)
    # A single value is at both sides of the first midpoint.
    return middle.gather(1, torch.minimum(chosen, (present - 1).clamp(min=0)))


def distinct_of_columns(columns: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values of each column `(rows, features)`, as `midpoints` takes them, on the CPU."""
    ordered = columns.t().sort(dim=1).values.cpu()
    place = torch.zeros(ordered.shape, dtype=torch.int64)
    torch.cumsum(ordered[:, 1:] > ordered[:, :-1], 1, out=place[:, 1:])
    shape = len(ordered), int(place.max()) + 1
    values = ordered[:, -1:].repeat(1, shape[1]).scatter_(1, place, ordered)
    return values, torch.zeros(shape, dtype=torch.int64).scatter_add_(1, place, torch.ones_like(place))


def distinct(blocks: Iterable[Tensor], limit: int) -> tuple[Tensor, Tensor] | None:
    """The distinct values of all blocks, ascending, and how often each occurs; None where there are more than `limit`.

    Both are `(values,)` on the CPU.
    """
    values, rows = torch.empty(0), torch.empty(0, dtype=torch.int64)
    for block in blocks:
        new, counts = block.flatten().sort().values.cpu().unique_consecutive(return_counts=True)
        values, index = torch.cat([values, new]).unique(return_inverse=True)
        rows = torch.zeros(len(values), dtype=torch.int64).index_add_(0, index, torch.cat([rows, counts]))
        if len(values) > limit:
            return None
    return values, rows


def pooled_quantiles(blocks: Callable[[], Iterable[Tensor]], count: int, fractions: Tensor) -> Tensor:
    """Quantiles of the values of all blocks together, exact, by a radix selection that reads the blocks three times.

    Args:
        blocks: Function that gives the same blocks of float32 at each call.
        count: Number of values that they hold.
        fractions: `(k,)`, from 0 to 1.

    Returns:
        float64 `(1, k)` on the CPU.
    """
    ranks, weight = _ranks(count, fractions)
    # Digit by digit: `prefix` holds the leading digits of the value at each rank, and `ranks` becomes its rank among
    # the values that share them.
    prefix = torch.zeros_like(ranks)
    for shift in DIGIT_SHIFTS:
        prefixes, slot = prefix.unique(return_inverse=True)
        counts = torch.zeros(len(prefixes), 2**DIGIT_BITS, dtype=torch.int64)
        for block in blocks():
            counts += _count_digits(_sort_keys(block), shift, prefixes)
        cumulative = counts.cumsum(dim=1)
        digit = torch.searchsorted(cumulative[slot], ranks.unsqueeze(1), right=True).squeeze(1)
        ranks = ranks - (cumulative - counts)[slot, digit]
        prefix = (prefix << DIGIT_BITS) | digit
    low, high = _from_sort_keys(prefix).double().chunk(2)
    return torch.lerp(low, high, weight).unsqueeze(0)


def sample_rows(blocks: Iterable[Tensor], max_rows: int, max_values: int, seed: int = 0) -> Tensor:
    """A uniform sample of the rows of a stream (reservoir sampling, Algorithm R of Vitter 1985).

    Args:
        blocks: Tensors `(rows, features)`.
        max_rows: Size of the sample.
        max_values: The sample is made smaller where it would hold more values than this.
        seed: The same seed and stream give the same sample.

    Returns:
        `(rows, features)`: all rows, if there are no more than the size of the sample.
    """
    generator = torch.Generator().manual_seed(seed)
    sample, size, seen = torch.empty(0), 0, 0
    for block in blocks:
        if seen == 0:
            size = min(max_rows, max(1, max_values // block.shape[1]))
            sample = block.new_empty(size, block.shape[1])
        row = torch.arange(seen, seen + len(block))
        draw = (torch.rand(len(block), dtype=torch.float64, generator=generator) * (row + 1)).long()
        slot, source = torch.where(row < size, row, draw).sort(stable=True)
        stays = slot < size
        stays[:-1] &= slot[:-1] != slot[1:]  # of rows sent to one slot the last remains
        sample[slot[stays].to(sample.device)] = block[source[stays].to(block.device)]
        seen += len(block)
    return sample[:seen]


def _ranks(count: int, fractions: Tensor) -> tuple[Tensor, Tensor]:
    """The ranks below, then those above each quantile, `(2k,)`, and the weight of the latter."""
    position = fractions * (count - 1)
    return torch.cat([position.floor(), position.ceil()]).long(), position.frac()


def _count_digits(keys: Tensor, shift: int, prefixes: Tensor) -> Tensor:
    """How often each digit follows each of the prefixes (ascending): `(prefixes, 2**DIGIT_BITS)`."""
    prefixes = prefixes.to(keys.device)
    prefix = keys >> (shift + DIGIT_BITS)
    row = torch.searchsorted(prefixes, prefix).clamp(max=len(prefixes) - 1)
    cell = (row << DIGIT_BITS) | ((keys >> shift) & (2**DIGIT_BITS - 1))
    counts = cell[prefixes[row] == prefix].bincount(minlength=len(prefixes) << DIGIT_BITS)
    return counts.view(len(prefixes), -1).cpu()


def _sort_keys(values: Tensor) -> Tensor:
    """Integers from 0 to 2**32 - 1 that sort as the float32 values do."""
    bits = values.flatten().view(torch.int32).long()
    return torch.where(bits < 0, -1 - bits, bits + 2**31)


def _from_sort_keys(keys: Tensor) -> Tensor:
    return torch.where(keys < 2**31, -1 - keys, keys - 2**31).to(torch.int32).view(torch.float32)
