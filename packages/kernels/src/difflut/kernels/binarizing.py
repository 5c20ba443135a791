"""The two tables with which DWN trains."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from difflut.kernels import cpp, cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import mark_bits
from difflut.kernels.tracing import untraced


@untraced
def binarize(values: Tensor, smoothing: Tensor | None = None, *, use_cuda: bool = True) -> tuple[Tensor, Tensor | None]:
    """Clamps values to [-1, 1] in place; returns them as bits, `values >= 0`, and smoothed.

    The gradient of the bits passes straight through to the values (https://arxiv.org/abs/2410.11112, section 3.1).

    Args:
        values: (L, m, 2**n)
        smoothing: Matrix whose entry (a, b) depends only on the bits in which a and b differ (see `smoothing_matrix`
            of the nodes). Without it only the bits are made. (2**n, 2**n)
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        The bits as 0. and 1., and `values @ smoothing`, which carries no gradient, or None; each (L, m, 2**n).
    """
    hard, slope = _Binarize.apply(values, smoothing, backend_for(values, use_cuda))
    return mark_bits(hard), slope


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, smoothing: Tensor | None, backend: ModuleType
    ) -> tuple[Tensor, Tensor | None]:
        if backend is cuda and values.is_contiguous():
            hard, slope = torch.empty_like(values), None if smoothing is None else torch.empty_like(values)
            cuda.launch("binarize", values, smoothing, hard, slope, values.numel(), values.shape[-1])
        elif backend is cpp and values.is_contiguous():
            hard, slope = cpp.binarize(values, smoothing)
        else:
            values.detach().clamp_(-1, 1)
            hard, slope = (values >= 0).to(values.dtype), None if smoothing is None else values @ smoothing
        if slope is not None:
            ctx.mark_non_differentiable(slope)
        ctx.set_materialize_grads(False)
        return hard, slope

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, None, None]:
        return grad, None, None
