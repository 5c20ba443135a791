"""The largest or the smallest input of every node, as pooling takes it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits, holds_bits, mark_bits
from difflut.kernels.contract import Backend, save_kept, saved_kept
from difflut.kernels.placements import PlacedWiring, Wiring
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_reads


@untraced
def maximum(x: Tensor | Bits, wiring: Wiring, *, least: bool = False, use_cuda: bool = True) -> Tensor:
    """The largest input of every node, `y[b, l] = max_j x[b, wiring[l, j]]`: the OR of bits.

    The gradient goes to the inputs that are the largest, in equal parts.

    Args:
        x: Values of any kind, any strides, or packed bits. (batch, features)
        wiring: The inputs that each node reads, (L, n), int64, n from 1 to 8; or such a wiring with its placements, P
            of them. What lies outside an image is 0.
        least: Whether it takes the smallest input instead, the AND of bits.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * P), stored with the batch as the fast axis; known as bits where x is.

    Raises:
        ValueError: The arguments do not fit each other, or the wiring reads an input which there is not.
    """
    reads = check_reads(x, wiring)
    backend = backend_for(x, use_cuda)
    y = _Maximum.apply(accepted(x, backend), reads, least, backend)
    return mark_bits(y) if holds_bits(x) else y


class _Maximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor | Bits, reads: PlacedWiring, least: bool, backend: Backend) -> Tensor:
        y, kept = backend.maximum(x, reads.wiring, least, reads.placements)
        ctx.backend, ctx.placements = backend, reads.placements
        save_kept(ctx, kept, reads.wiring)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, wiring = saved_kept(ctx)
        return ctx.backend.maximum_gradient(kept, wiring, grad, ctx.placements), None, None, None
