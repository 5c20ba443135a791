"""A batch of which this process computes some rows, as one of several processes that train a network together.

What depends on more than one row asks here: random numbers are those that one process would draw for these rows, and
sums are over the rows of all processes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """The rows of a batch that this process computes.

    Attributes:
        start: The first of them.
        rows: Number of its rows. Where there is none the process computes one row, which counts nothing.
        total: Rows of the whole batch.
        add: Sums a tensor over all processes, in place.
    """

    start: int
    rows: int
    total: int
    add: Callable[[Tensor], None]

    @property
    def share(self) -> float:
        """The share of these rows in the mean over the batch."""
        return self.rows / self.total

    @property
    def computed(self) -> slice:
        """The rows of the batch that are computed, one at least."""
        return slice(self.start, self.start + max(self.rows, 1))


_present: ContextVar[Part | None] = ContextVar("part", default=None)


def present_part() -> Part | None:
    """The part that is computed at present; None where it is the whole batch."""
    return _present.get()


@contextmanager
def computing(part: Part) -> Iterator[None]:
    """Within, batches are this part of a whole."""
    token = _present.set(part)
    try:
        yield
    finally:
        _present.reset(token)


def draw_by_row(x: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Random numbers for the entries of a batch, the same whatever part of it this process computes.

    Args:
        x: (batch, features)
        draw: Fills a tensor, and returns it.

    Returns:
        (batch, features), in the memory order of x, so that neither a transposed batch nor its draw is copied.
    """
    part = _present.get()
    if part is None:
        return draw(torch.empty_like(x))
    rows, features = x.shape
    whole = x.new_empty(features, part.total).t() if x.stride(0) == 1 else x.new_empty(part.total, features)
    return draw(whole)[part.start : part.start + rows]
