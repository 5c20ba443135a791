"""Evaluating a bank, whatever its operation."""

from torch import Tensor

from difflut.kernels.cpp.calling import call
from difflut.kernels.validation import unknown_input


def evaluate(function: str, inputs: Tensor, x: Tensor, wiring: Tensor, table: Tensor) -> Tensor:
    """The outputs (batch, L * m) of an operation that reads `inputs`, made of x, and a table (L, m, entries).

    Raises:
        ValueError: The wiring reads an input which x has not.
    """
    (batch, features), (nodes, m, _) = x.shape, table.shape
    y = table.new_empty(nodes * m, batch)
    if call(function, inputs, wiring.contiguous(), table.contiguous(), y, batch, features, *wiring.shape, m):
        raise unknown_input(wiring, features)
    return y.t()
