"""Polynomial nodes: PolyLUT (arXiv 2309.02334)."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.corners import monomials
from difflut.nodes.sigmoid_series import SigmoidSeries
from difflut.registry import register_node


@register_node("polylut")
class PolyLUT(SigmoidSeries):
    """The sigmoid of a polynomial of the inputs (arXiv 2309.02334).

    Inputs are bits, so only products of distinct inputs count; such a polynomial is multilinear.

    Args:
        degree: The largest number of inputs in a product, at most n; with n, any function can be learned.

    Raises:
        ValueError: `degree` is less than 1 or greater than n. The default of 2 passes with n = 1 too.
    """

    holds_every_table = False

    def __init__(self, input_dim: int = 6, output_dim: int = 1, degree: int = 2, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        if degree < 1:
            raise ValueError(f"PolyLUT: degree={degree} must be at least 1")
        if degree > max(input_dim, 2):
            raise ValueError(
                f"PolyLUT: degree={degree} must be at most n={input_dim}: a product has each input once at most"
            )
        self.degree = degree
        products = monomials(input_dim, degree, like=torch.empty(0)).shape[1]
        self.coefficients = nn.Parameter(torch.randn(self.num_nodes, output_dim, products))
        self.reset_parameters()

    def logits(self) -> Tensor:
        """The polynomial at the corners: `(L, m, 2**n)`."""
        return self.coefficients @ monomials(self.input_dim, self.degree, like=self.coefficients).T

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        basis = monomials(self.input_dim, self.degree, like=table)
        self.coefficients.copy_(torch.logit(table, eps=1e-6) @ torch.linalg.pinv(basis).T)
