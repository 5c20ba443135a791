"""Evaluating a bank, whatever its operation."""

from torch import Tensor

from difflut.kernels.cpp.calling import call
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input


def evaluate(
    function: str, inputs: Tensor, batch: int, wiring: Tensor, table: Tensor, placements: Placements
) -> Tensor:
    """The outputs (batch, L * m) of an operation that reads `inputs` and a table (L, m, entries).

    Raises:
        ValueError: The wiring reads beyond the window.
    """
    nodes, m, _ = table.shape
    y = table.new_empty(nodes * m, batch)
    sizes = batch, placements.features, *wiring.shape, m
    if call(function, inputs, wiring.contiguous(), table.contiguous(), y, *sizes):
        raise unknown_input(wiring, placements)
    return y.t()
