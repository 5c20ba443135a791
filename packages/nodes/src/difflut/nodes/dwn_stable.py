"""DWN with a bounded table and the gradient weights of its paper."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.corners import smoothing_matrix
from difflut.nodes.hard_lookup import HardLookup
from difflut.registry import register_node


@register_node("dwn_stable")
class DWNStable(HardLookup):
    """A table behind a sigmoid, read at the hard address, with finite differences weighted by `1 / (H + 1)`.

    The weights are those of the DWN paper (arXiv 2410.11112, equation 4); the sigmoid replaces clamping.

    Args:
        gradient_scale: Factor on the gradient of the table.
    """

    smoothing: Tensor

    def __init__(self, input_dim: int = 6, output_dim: int = 1, gradient_scale: float = 1.0, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.gradient_scale = gradient_scale
        self.logits = nn.Parameter(torch.randn(self.num_nodes, output_dim, 2**input_dim))
        self.register_buffer("smoothing", smoothing_matrix(1 / torch.arange(1.0, input_dim + 1)), persistent=False)
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def tables(self, needs_slope: bool) -> tuple[Tensor, Tensor | None]:
        table = self.soft_table()
        scaled = kernels.straight_through(table.detach(), self.gradient_scale * table)
        return scaled, table.detach() @ self.smoothing if needs_slope else None

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        self.logits.copy_(torch.logit(table, eps=1e-6))
