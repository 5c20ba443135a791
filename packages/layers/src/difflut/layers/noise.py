"""Bit flips and gradient stabilisation: what keeps the training of deep LUT networks robust."""

from typing import Any

import torch
from torch import Tensor

from difflut import kernels


class _FlipBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        # Drawn in the memory order of x, so that neither a transposed batch nor its draw is copied.
        flipped = torch.empty_like(x).bernoulli_(probability)
        return x + flipped - 2 * x * flipped

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def flip_bits(x: Tensor, probability: float) -> Tensor:
    """Replaces each entry by its complement `1 - x` with the given probability; the gradient ignores the flips."""
    flipped = _FlipBits.apply(x, probability)
    return kernels.mark_bits(flipped) if kernels.holds_bits(x) else flipped


class _StabilizeGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, mode: str, target_std: float, subtract_mean: bool) -> Tensor:
        ctx.options = mode, target_std, subtract_mean
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return rescale(grad, *ctx.options), None, None, None


def stabilize_gradient(y: Tensor, mode: str, target_std: float, subtract_mean: bool) -> Tensor:
    """Returns `y` unchanged and rescales its gradient as `rescale` does."""
    return _StabilizeGradient.apply(y, mode, target_std, subtract_mean)


def rescale(grad: Tensor, mode: str, target_std: float, subtract_mean: bool) -> Tensor:
    """Gives a gradient `(batch, features)` the standard deviation `target_std`.

    Args:
        mode: `"layerwise"` measures over all entries, `"batchwise"` over each sample's.
        subtract_mean: Whether the mean, over the same entries, is removed first.

    Returns:
        The rescaled gradient; where all entries are equal there is no scale to change, and they stay as they are.
    """
    dims = (0, 1) if mode == "layerwise" else (1,)
    if subtract_mean:
        grad = grad - grad.mean(dims, keepdim=True)
    std = grad.std(dims, keepdim=True, correction=0)
    return grad * torch.where(std > 0, target_std / std, 1.0)
