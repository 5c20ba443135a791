"""Differentiable logic gates (arXiv 2210.08277)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.corners import corners
from difflut.nodes.node import Node
from difflut.registry import register_node

NUM_GATES = 16


@register_node("difflogic")
class DiffLogic(Node):
    """A softmax over the 16 gates of two inputs (arXiv 2210.08277).

    A gate's number is its truth table: bit `a` of it is the output at address `a`. The mixture of the gates' tables
    is a table, so training evaluates its multilinear extension.

    Args:
        noise: Whether to add Gumbel noise to the gate logits in training (arXiv 2506.07500).
        straight_through: Whether training uses the likeliest gate alone, with the relaxed gradient.
    """

    def __init__(
        self,
        input_dim: int = 2,
        output_dim: int = 1,
        noise: bool = False,
        straight_through: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **options)
        if input_dim != 2:
            raise ValueError(
                f"DiffLogic: input_dim={input_dim}, but it holds all 2**(2**n) functions, so n must be 2; "
                "'light' and 'warp' learn any function of more inputs"
            )
        self.noise, self.straight_through = noise, straight_through
        self.gate_logits = nn.Parameter(torch.randn(self.num_nodes, output_dim, NUM_GATES))
        self.reset_parameters()

    def _mixture(self, gate_weights: Tensor) -> Tensor:
        return gate_weights @ corners(4, like=gate_weights)

    def soft_table(self) -> Tensor:
        return self._mixture(self.gate_logits.softmax(-1))

    def relaxed(self, x: Tensor, wiring: Tensor) -> Tensor:
        if self.noise and self.training:
            gate_weights = F.gumbel_softmax(self.gate_logits, hard=self.straight_through)
        else:
            gate_weights = self.gate_logits.softmax(-1)
            if self.straight_through:
                likeliest = F.one_hot(gate_weights.argmax(-1), NUM_GATES).to(gate_weights.dtype)
                gate_weights = kernels.straight_through(likeliest, gate_weights)
        return kernels.multilinear(x, wiring, self._mixture(gate_weights), use_cuda=self.use_cuda)

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        # Gates drawn entry by entry, each entry 1 with the table's probability, have just these marginals.
        gates = corners(4, like=table)
        table = table.clamp(1e-6, 1 - 1e-6)
        self.gate_logits.copy_(table.log() @ gates.T + (1 - table).log() @ (1 - gates).T)
