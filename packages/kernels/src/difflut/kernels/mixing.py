"""Weighted sums of the inputs of every window."""

import torch.nn.functional as F
from torch import Tensor

from difflut.kernels.bits import Bits
from difflut.kernels.gathering import gather
from difflut.kernels.placements import Placements


def mix(x: Tensor | Bits, weights: Tensor, candidates: Tensor | None, placements: Placements) -> Tensor:
    """Sums the inputs of each pin by its weights, `y[b, i, p] = sum_k weights[i, k] x[b, candidates[i, k] at p]`.

    In an image that is a convolution of numbers, so no copy holds what each window sees. A GPU may round its inputs to
    TF32, as `torch.backends.cudnn.allow_tf32` says.

    Args:
        x: (batch, features)
        weights: A weight of each input of the window, (pins, window), or of each candidate, (pins, K).
        candidates: Positions in the window, (pins, K), int64; all where not given.
        placements: Windows at which the pins stand, P of them.

    Returns:
        (batch, pins * P)
    """
    x = x if isinstance(x, Tensor) else x.float()
    if placements.is_dense and candidates is not None:
        return (weights[:, None] @ gather(x, candidates)).squeeze(1).t()
    if placements.is_dense:
        return (weights @ x.t()).t()
    if candidates is not None:
        weights = weights.new_zeros(len(weights), placements.window).scatter_add(1, candidates, weights)
    images = x.reshape(len(x), placements.channels, placements.height, placements.width)
    filters = weights.view(-1, placements.channels, *placements.kernel)
    return F.conv2d(images, filters, None, placements.stride, placements.padding).flatten(1)
