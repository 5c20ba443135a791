"""Differentiable weightless networks: DWN (arXiv 2410.11112)."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.corners import dwn_smoothing
from difflut.nodes.hard_lookup import HardLookup
from difflut.registry import register_node


@register_node("dwn")
class DWN(HardLookup):
    """A hard table trained by extended finite differences (arXiv 2410.11112, section 3.1).

    Training reads the same bits as evaluation; the gradient passes straight through to the values, which are kept in
    [-1, 1]. The gradient of the inputs weighs every entry of the table by its distance from the address (see
    `dwn_smoothing`).
    """

    gives_bits = True
    smoothing: Tensor

    def __init__(self, input_dim: int = 6, output_dim: int = 1, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.values = nn.Parameter(torch.empty(self.num_nodes, output_dim, 2**input_dim).uniform_(-1, 1))
        self.register_buffer("smoothing", dwn_smoothing(input_dim), persistent=False)
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return (self.values + 1) / 2

    def truth_table(self) -> Tensor:
        # This is the soft table at one half or above, but without a rounding error.
        return self.values.detach() >= 0

    def tables(self, needs_slope: bool) -> tuple[Tensor, Tensor | None]:
        return kernels.binarize(self.values, self.smoothing if needs_slope else None, use_cuda=self.use_cuda)

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        self.values.copy_(2 * table - 1)
