"""Hard look-up forward, probabilistic gradients backward."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.node import Node, takes_choices
from difflut.registry import register_node


@register_node("hybrid")
class Hybrid(Node):
    """Reads its table at the hard address, and has the gradients of the multilinear extension at its inputs.

    The forward pass of DWN with the backward pass of probabilistic nodes (BitLogic, arXiv 2602.07400).
    """

    exact_gradient = False

    def __init__(self, input_dim: int = 6, output_dim: int = 1, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.logits = nn.Parameter(torch.randn(self.num_nodes, output_dim, 2**input_dim))
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @takes_choices
    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        return kernels.multilinear(x, wiring, self.soft_table(), hard=True, use_cuda=self.use_cuda)

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        self.logits.copy_(torch.logit(table, eps=1e-6))
