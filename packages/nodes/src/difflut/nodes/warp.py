"""Walsh-parametrised nodes: WARP (arXiv 2602.03527)."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.corners import walsh_matrix
from difflut.nodes.sigmoid_series import SigmoidSeries
from difflut.registry import register_node


@register_node("warp")
class Warp(SigmoidSeries):
    """The sigmoid of a Walsh series of the inputs (arXiv 2602.03527).

    The series is the multilinear extension of its values at the corners.

    Args:
        temperature: Divides the series before the sigmoid.
    """

    def __init__(self, input_dim: int = 6, output_dim: int = 1, temperature: float = 1.0, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.check_positive(temperature=temperature)
        self.temperature = temperature
        entries = 2**input_dim
        self.coefficients = nn.Parameter(torch.randn(self.num_nodes, output_dim, entries) / entries**0.5)
        self.reset_parameters()

    def logits(self) -> Tensor:
        """The series at the corners over the temperature: `(L, m, 2**n)`."""
        return self.coefficients @ walsh_matrix(self.input_dim, like=self.coefficients) / self.temperature

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        logits = self.temperature * torch.logit(table, eps=1e-6)
        self.coefficients.copy_(logits @ walsh_matrix(self.input_dim, like=table) / table.shape[-1])
