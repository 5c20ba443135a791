"""Nodes whose table is given, not learned, and what each trains with."""

from typing import Any

import torch
from torch import Tensor

from difflut import kernels
from difflut.nodes.corners import corners, dwn_smoothing
from difflut.nodes.hard_lookup import HardLookup

OPERATIONS = ("or", "and", "majority")


class GivenTable(HardLookup):
    """Nodes that all compute one function of their inputs, as pooling does: OR, AND or the majority.

    Training reads the same table as evaluation. The gradient of an input is the finite difference of the table
    smoothed as DWN does (arXiv 2410.11112, section 3.1), so that inputs which do not decide alone get some too.

    Args:
        operation: `"or"`, `"and"`, or `"majority"`: at least half of the inputs.
        input_dim: Inputs of each node, n.
        width: Nodes.

    Raises:
        ValueError: There is no such operation.
    """

    gives_bits = True
    table: Tensor
    slope: Tensor

    def __init__(self, operation: str, input_dim: int, *, width: int = 1, use_cuda: bool = True) -> None:
        super().__init__(input_dim, 1, width=width, use_cuda=use_cuda)
        if operation not in OPERATIONS:
            raise ValueError(f"operation={operation!r} must be one of {', '.join(OPERATIONS)}")
        self.operation = operation
        ones = corners(input_dim, like=torch.empty(0)).sum(1)
        least = {"or": 1.0, "and": float(input_dim), "majority": input_dim / 2}[operation]
        table = (ones >= least).float()
        self.register_buffer("table", table.expand(width, 1, -1).contiguous(), persistent=False)
        slope = (table @ dwn_smoothing(input_dim)).expand(width, 1, -1).contiguous()
        self.register_buffer("slope", slope, persistent=False)

    def soft_table(self) -> Tensor:
        return self.table

    def tables(self, needs_slope: bool) -> tuple[Tensor, Tensor | None]:
        return kernels.mark_bits(self.table), self.slope if needs_slope else None

    def load_table(self, table: Tensor) -> None:
        """Raises a `TypeError`: the table is given."""
        raise TypeError(f"the table of {self.operation!r} is given; there is nothing to load")


class GivenMaximum(GivenTable):
    """Training computes the largest input, or of AND the smallest; the gradient goes to the largest in equal parts.

    Raises:
        ValueError: A majority is to be a maximum.
    """

    def __init__(self, operation: str, input_dim: int, **options: Any) -> None:
        super().__init__(operation, input_dim, **options)
        if operation == "majority":
            raise ValueError("operation='majority' is no maximum; make relaxation 'smoothed' or 'multilinear'")

    def relaxed(self, x: Tensor | kernels.Bits, wiring: kernels.Wiring) -> Tensor:  # type: ignore[override]
        return kernels.maximum(x, wiring, least=self.operation == "and", use_cuda=self.use_cuda)


class GivenExtension(GivenTable):
    """Training computes the multilinear extension of the table, the probability that it is 1."""

    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        return kernels.multilinear(x, wiring, self.table, use_cuda=self.use_cuda)


# By what training computes: the table itself with the gradient of the smoothed one, or another relaxation.
RELAXATIONS = {"maximum": GivenMaximum, "smoothed": GivenTable, "multilinear": GivenExtension}
