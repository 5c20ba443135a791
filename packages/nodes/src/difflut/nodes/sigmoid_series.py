"""Nodes that are the sigmoid of a series in which each input occurs at most once in a product."""

from abc import abstractmethod

import torch
from torch import Tensor

from difflut import kernels
from difflut.nodes.node import Node, takes_choices


class SigmoidSeries(Node):
    """A node whose logit is multilinear in its inputs, so the logits at the corners give it everywhere."""

    @abstractmethod
    def logits(self) -> Tensor:
        """The series at the corners: `(L, m, 2**n)`."""

    def soft_table(self) -> Tensor:
        return torch.sigmoid(self.logits())

    @takes_choices
    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        return torch.sigmoid(kernels.multilinear(x, wiring, self.logits(), use_cuda=self.use_cuda))
