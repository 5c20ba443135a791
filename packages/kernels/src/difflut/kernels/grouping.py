"""Sums over equal stretches of the features."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.tracing import untraced


@untraced
def group_sum(x: Tensor, groups: int) -> Tensor:
    """Sums each of `groups` equal stretches of the features, (batch, features) to (batch, groups).

    Layers store the batch as the fast axis; so is the result, and so is the gradient of x.

    Raises:
        ValueError: The features cannot be divided so.
    """
    if x.shape[1] % groups:
        raise ValueError(f"{x.shape[1]} features cannot be divided into groups={groups} equal groups")
    return _GroupSum.apply(x, groups) if backend_for(x) is cuda else _sums(x, groups)


def _sums(x: Tensor, groups: int) -> Tensor:
    return x.t().unflatten(0, (groups, -1)).sum(1).t()


class _GroupSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int) -> Tensor:
        ctx.features = x.shape[1]
        return _sums(x, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return cuda.spread(grad, ctx.features), None
