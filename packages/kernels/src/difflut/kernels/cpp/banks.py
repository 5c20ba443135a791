"""Evaluating a bank, whatever its operation."""

from torch import Tensor

from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import sizes
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input


def evaluate(
    function: str, inputs: Tensor, batch: int, wiring: Tensor, table: Tensor, placements: Placements
) -> Tensor:
    """The outputs (batch, L * m * P) of an operation that reads `inputs` and a table (L, m, entries).

    Raises:
        ValueError: The wiring reads beyond the window.
    """
    nodes, m, _ = table.shape
    y = table.new_empty(nodes * m * placements.count, batch)
    given = inputs, wiring.contiguous(), table.contiguous()
    if call(function, *given, y, sizes(placements), batch, *wiring.shape, m):
        raise unknown_input(wiring, placements)
    return y.t()
