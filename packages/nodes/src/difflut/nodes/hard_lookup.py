"""Nodes that read hard tables in training too."""

from abc import abstractmethod

from torch import Tensor

from difflut import kernels
from difflut.nodes.node import Node, takes_choices


class HardLookup(Node):
    """A node whose training is `kernels.lookup`; layers of such nodes that follow each other run as one operation."""

    reads_bits = True
    exact_gradient = False

    @abstractmethod
    def tables(self, needs_slope: bool) -> tuple[Tensor, Tensor | None]:
        """The table that training reads and, if needed, the slope that gives the inputs' gradient: `(L, m, 2**n)`."""

    @takes_choices
    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        return kernels.lookup(x, wiring, *self.tables(x.requires_grad), use_cuda=self.use_cuda)
