"""Linear threshold nodes: LogicNets (arXiv 2004.03021) with a sigmoid."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.corners import corners
from difflut.nodes.sigmoid_series import SigmoidSeries
from difflut.registry import register_node


@register_node("linear_lut")
class LinearLUT(SigmoidSeries):
    """A logistic regression in each node: `sigmoid(w . x + b)` (arXiv 2004.03021)."""

    holds_every_table = False

    def __init__(self, input_dim: int = 6, output_dim: int = 1, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.weight = nn.Parameter(torch.randn(self.num_nodes, output_dim, input_dim))
        self.bias = nn.Parameter(torch.zeros(self.num_nodes, output_dim))
        self.reset_parameters()

    def logits(self) -> Tensor:
        """`w . a + b` at the corners: `(L, m, 2**n)`."""
        return self.weight @ corners(self.input_dim, like=self.weight).T + self.bias[..., None]

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        points = corners(self.input_dim, like=table)
        basis = torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
        solution = torch.logit(table, eps=1e-6) @ torch.linalg.pinv(basis).T
        self.weight.copy_(solution[..., :-1])
        self.bias.copy_(solution[..., -1])
