"""Learnable wiring: among all inputs by torch's products of matrices, among few candidates by kernels."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import feature_major
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.reference import select as select


def select_logits_gradient(x: Tensor, candidates: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient of the logits, (features, P) or (P, K)."""
    if candidates is None or grad.numel() == 0:
        return reference.select_logits_gradient(x, candidates, grad)
    logits_grad, (pins, choices) = grad.new_empty(candidates.shape), candidates.shape
    among = wires_of(candidates, x.shape[1]).wiring
    launch("candidates_gradient", feature_major(x), among, choices, feature_major(grad), len(grad), pins, logits_grad)
    return logits_grad


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, chosen: Tensor, tau: float, grad: Tensor, features: int
) -> Tensor:
    """The gradient of x, (batch, features)."""
    if candidates is None or grad.numel() == 0:
        return reference.select_x_gradient(logits, candidates, chosen, tau, grad, features)
    x_grad, share = grad.new_empty(features, len(grad)), torch.softmax(logits / tau, 1)
    place = share, candidates.shape[1], feature_major(grad), len(grad), features, x_grad
    launch("candidates_input_gradient", *wires_of(candidates, features).readers(), *place)
    return x_grad.t()
