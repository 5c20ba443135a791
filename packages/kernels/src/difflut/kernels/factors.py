"""Gradients of dense selection that are kept as two factors, because their product is all that an optimiser reads."""

from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels import cpp
from difflut.kernels.bits import Bits


class Factors(NamedTuple):
    """A gradient `(2x - 1)^T grad` of dense selection, not multiplied out."""

    bits: Tensor  # packed x, (features, words), as the kernels of its device keep it
    grad: Tensor  # (pins, batch), on a GPU padded
    batch: int

    def dense(self) -> Tensor:
        """The gradient itself, (features, pins)."""
        if self.bits.dtype == torch.int64:
            return cpp.select_logits_gradient(self.bits, None, self.grad.t())
        signs = 2 * Bits(self.bits, self.batch).float() - 1
        return signs.t() @ self.grad[:, : self.batch].t()


def accept_factors(logits: Tensor) -> None:
    """Lets an operation put the gradient of these logits into `logits.factors` instead of `logits.grad`, once."""
    logits.factors = None


def accepts_factors(logits: Tensor) -> bool:
    """Whether `logits.factors` waits for a gradient."""
    return getattr(logits, "factors", ()) is None


def taken_factors(logits: Tensor) -> Factors | None:
    """The factors that were put there, if any; more are not accepted."""
    return vars(logits).pop("factors", None)
