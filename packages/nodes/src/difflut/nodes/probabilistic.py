"""Probabilistic tables: the expectation under independent input bits."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.extension import Extension
from difflut.registry import register_node


@register_node("probabilistic")
class Probabilistic(Extension):
    """The expected table entry when input `l` is 1 with probability `x_l` (BitLogic, arXiv 2602.07400).

    That is the multilinear extension of `sigmoid(w / temperature)`.

    Args:
        temperature: Lower ones bring the entries nearer to bits.
    """

    def __init__(self, input_dim: int = 6, output_dim: int = 1, temperature: float = 1.0, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.check_positive(temperature=temperature)
        self.temperature = temperature
        self.logits = nn.Parameter(torch.randn(self.num_nodes, output_dim, 2**input_dim))
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return torch.sigmoid(self.logits / self.temperature)

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        self.logits.copy_(self.temperature * torch.logit(table, eps=1e-6))
