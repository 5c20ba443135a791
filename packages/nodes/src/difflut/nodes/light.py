"""Input-wise ("light") logic gates (arXiv 2510.03250)."""

from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.extension import Extension
from difflut.nodes.initializers import residual
from difflut.nodes.relaxation import logistic_noise, relaxed_bernoulli
from difflut.registry import register_node


@register_node("light")
class Light(Extension):
    """One logit for each entry of the table, 2**n instead of 2**(2**n) for each node (arXiv 2510.03250).

    It starts as the identity of its first input. With `noise`, each training step samples the table by Gumbel noise
    (arXiv 2506.07500), which pushes entries away from one half and narrows the gap to the hard network.

    Args:
        temperature: Temperature of the relaxed samples; it acts in training only.
        noise: Whether to add logistic noise to the logits in training.
        straight_through: Whether training uses the table rounded to bits, with the relaxed gradient.
    """

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        temperature: float = 1.0,
        noise: bool = False,
        straight_through: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.check_positive(temperature=temperature)
        self.temperature, self.noise, self.straight_through = temperature, noise, straight_through
        self.logits = nn.Parameter(torch.empty(self.num_nodes, output_dim, 2**input_dim))
        start = torch.empty_like(self.logits)
        residual(start)
        self.load_table(start)
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def training_table(self) -> Tensor:
        noise = logistic_noise(torch.empty_like(self.logits)) if self.noise and self.training else None
        return relaxed_bernoulli(self.logits, self.temperature, noise, self.straight_through)

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        self.logits.copy_(torch.logit(table, eps=1e-6))
