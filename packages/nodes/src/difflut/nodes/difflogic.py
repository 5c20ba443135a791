"""Differentiable logic gates (arXiv 2210.08277)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.corners import corners
from difflut.nodes.extension import Extension
from difflut.nodes.promises import has
from difflut.registry import register_node

NUM_GATES = 16


@register_node("difflogic")
class DiffLogic(Extension):
    """A softmax over the 16 gates of two inputs (arXiv 2210.08277).

    A gate's number is its truth table: bit `a` of it is the output at address `a`. The mixture of the gates' tables
    is a table, so training evaluates its multilinear extension. It has two inputs, as there are `2**(2**n)` gates of n;
    `light` and `warp` learn any function of more.

    Args:
        noise: Whether to add Gumbel noise to the gate logits in training (arXiv 2506.07500).
        temperature: Temperature of the noisy softmax; towards 0 its samples become single gates.
        straight_through: Whether training uses the likeliest gate alone, with the relaxed gradient.

    Raises:
        ValueError: The temperature is not positive, or without effect.
    """

    inputs = (2,)

    def __init__(
        self,
        input_dim: int = 2,
        output_dim: int = 1,
        noise: bool = False,
        straight_through: bool = False,
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.check_positive(temperature=temperature)
        if temperature != 1 and not noise:
            raise ValueError(f"DiffLogic: temperature={temperature} is that of the noisy softmax; it needs noise=True")
        self.noise, self.straight_through, self.temperature = noise, straight_through, temperature
        self.gate_logits = nn.Parameter(torch.randn(self.num_nodes, output_dim, NUM_GATES))
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return kernels.gate_table(self.gate_logits, use_cuda=self.use_cuda)

    def training_table(self) -> Tensor:
        return self._sampled_table() if self._samples() else self.soft_table()

    def mixture(self) -> Tensor | None:
        own = has(self, "training_table", DiffLogic.training_table) and has(self, "soft_table", DiffLogic.soft_table)
        return self.gate_logits if own and not self._samples() else None

    def _samples(self) -> bool:
        return self.straight_through or (self.noise and self.training)

    def _sampled_table(self) -> Tensor:
        if self.noise and self.training:
            gate_weights = F.gumbel_softmax(self.gate_logits, self.temperature, self.straight_through)
        else:
            soft = self.gate_logits.softmax(-1)
            likeliest = F.one_hot(soft.argmax(-1), NUM_GATES).to(soft.dtype)
            gate_weights = kernels.straight_through(likeliest, soft)
        return gate_weights @ corners(4, like=gate_weights)

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        # Gates drawn entry by entry, each entry 1 with the table's probability, have just these marginals.
        gates = corners(4, like=table)
        table = table.clamp(1e-6, 1 - 1e-6)
        self.gate_logits.copy_(table.log() @ gates.T + (1 - table).log() @ (1 - gates).T)
