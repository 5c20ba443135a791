"""Bit flips and gradient stabilisation: what keeps the training of deep LUT networks robust."""

from typing import Any

import torch
from torch import Tensor

from difflut import kernels
from difflut.nodes.parts import Part, draw_by_row, present_part


class _FlipBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        flipped = draw_by_row(x, lambda tensor: tensor.bernoulli_(probability))
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
        ctx.options = mode, target_std, subtract_mean, present_part()
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return rescale(grad, *ctx.options), None, None, None


def stabilize_gradient(y: Tensor, mode: str, target_std: float, subtract_mean: bool) -> Tensor:
    """Returns `y` unchanged and rescales its gradient as `rescale` does."""
    return _StabilizeGradient.apply(y, mode, target_std, subtract_mean)


def rescale(grad: Tensor, mode: str, target_std: float, subtract_mean: bool, part: Part | None = None) -> Tensor:
    """Gives a gradient `(batch, features)` the standard deviation `target_std`.

    Args:
        mode: `"layerwise"` measures over all entries, `"batchwise"` over each sample's.
        subtract_mean: Whether the mean, over the same entries, is removed first.
        part: Part of the batch that the gradient is of; all entries are then those of the whole batch.

    Returns:
        The rescaled gradient; where all entries are equal there is no scale to change, and they stay as they are.
    """
    dims = (0, 1) if mode == "layerwise" else (1,)
    whole = part if mode == "layerwise" else None
    if subtract_mean:
        grad = grad - _mean(grad, dims, whole)
    std = grad.std(dims, keepdim=True, correction=0) if whole is None else _deviation(grad, whole)
    if part is not None and not part.rows:
        return torch.zeros_like(grad)  # the process has no row of its own here
    return grad * torch.where(std > 0, target_std / std, 1.0)


def _mean(grad: Tensor, dims: tuple[int, ...], part: Part | None) -> Tensor:
    if part is None:
        return grad.mean(dims, keepdim=True)
    total = grad[: part.rows].sum()
    part.add(total)
    return total / (part.total * grad.shape[1])


def _deviation(grad: Tensor, part: Part) -> Tensor:
    squares = (grad - _mean(grad, (0, 1), part))[: part.rows].square()
    return _mean(squares, (0, 1), part).sqrt()
