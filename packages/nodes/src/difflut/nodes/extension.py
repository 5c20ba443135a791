"""Nodes that train on the multilinear extension of a table."""

from torch import Tensor

from difflut import kernels
from difflut.nodes.node import Node, takes_choices


class Extension(Node):
    """A node whose training is `kernels.multilinear`; trees of such nodes run as one operation."""

    def training_table(self) -> Tensor:
        """The table whose extension training computes, `(L, m, 2**n)`; it may be a sample."""
        return self.soft_table()

    def mixture(self) -> Tensor | None:
        """Logits (L, m, 16) of which `kernels.gate_table` is the `training_table`; None where it is found otherwise."""
        return None

    @takes_choices
    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        return kernels.multilinear(x, wiring, self.training_table(), use_cuda=self.use_cuda)
