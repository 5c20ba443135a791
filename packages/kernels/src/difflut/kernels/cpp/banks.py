"""Evaluating a bank, whatever its operation."""

from torch import Tensor

from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import sizes
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input


def evaluate(
    function: str, inputs: Tensor, batch: int, wiring: Tensor, table: Tensor, placements: Placements
) -> Tensor:
    """The outputs (batch, L * m * P) of an operation that reads `inputs` and a table (L, m, entries).

    Raises:
        ValueError: The wiring reads beyond the window.
    """
    y = recycled(table.shape[0] * table.shape[1] * placements.count, batch)
    fill(y, function, inputs, batch, wiring, table, placements)
    return y.t()


def fill(
    y: Tensor,
    function: str,
    inputs: Tensor,
    batch: int,
    wiring: Tensor,
    table: Tensor,
    placements: Placements,
    *options: float,
) -> None:
    """Evaluates a bank as `evaluate` does, into the memory of y, which is as the operation wants it.

    Raises:
        ValueError: The wiring reads beyond the window.
    """
    arguments = inputs, wiring.contiguous(), table.contiguous(), y
    if call(function, *arguments, *options, sizes(placements), batch, *wiring.shape, table.shape[1]):
        raise unknown_input(wiring, placements)
