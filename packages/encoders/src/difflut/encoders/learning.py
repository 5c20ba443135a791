"""The gradient of thresholds: the slope of a sigmoid stands for that of the comparison, which is a step."""

from typing import Any

import torch
from torch import Tensor


def with_slope(bits: Tensor, x: Tensor, thresholds: Tensor, codebook: Tensor, width: Tensor) -> Tensor:
    """Bits that pass a gradient on to the thresholds.

    The value stays that of the comparison, and the derivative of `x > t` by t is taken to be that of
    `sigmoid((x - t) / width)`: a surrogate gradient (arXiv 1901.09948), straight through in the manner of arXiv
    1308.3432.

    Args:
        bits: Code of the level of each input. (batch, features, num_bits)
        x: (batch, features)
        thresholds: Ascending; one row is that of all features. (features or 1, levels - 1)
        codebook: (levels, num_bits)
        width: Width of the sigmoid, above 0. (features or 1, 1)
    """
    steps = codebook.to(bits.dtype).diff(dim=0)  # what a bit changes by where a threshold is passed
    return _WithSlope.apply(bits, x, thresholds, steps, width)


class _WithSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bits: Tensor, x: Tensor, thresholds: Tensor, steps: Tensor, width: Tensor) -> Tensor:
        ctx.save_for_backward(x, thresholds, steps, width)
        return bits.view_as(bits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor, None, None]:
        x, thresholds, steps, width = ctx.saved_tensors
        passed = torch.sigmoid((x.nan_to_num(nan=-torch.inf).unsqueeze(-1) - thresholds) / width)
        slope = passed * (1 - passed) / width  # (batch, features, levels - 1)
        return None, None, -((grad.to(steps) @ steps.t()) * slope).sum_to_size(thresholds.shape), None, None
