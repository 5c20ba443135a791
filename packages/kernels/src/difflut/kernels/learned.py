"""The hard look-up behind a learnable wiring, as one operation."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.factors import Factors, accepts_factors
from difflut.kernels.lookup import lookup
from difflut.kernels.select import select

FACTORED_BATCH = 64  # up to here it is quicker to form the gradient of the logits where it is used


def learned_lookup(
    x: Tensor | Bits, logits: Tensor, table: Tensor, slope: Tensor, *, tau: float = 0.001, use_cuda: bool = True
) -> Tensor:
    """Looks up nodes whose pins read their best inputs: `lookup(select(x, logits), pins in order, table, slope)`.

    On a GPU the selected inputs and the gradient of the pins are kept as bits and in bfloat16 pairs (16 bits of
    precision), and for small batches `Adam` may take the gradient of the logits as two factors (see
    `accept_factors`). The gradient of x is left to the two operations.

    Args:
        x: (batch, features)
        logits: (features, L * n)
        table: (L, m, 2**n)
        slope: (L, m, 2**n)
        tau: See `select`.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    nodes, n = len(table), table.shape[-1].bit_length() - 1
    backend = backend_for(table, use_cuda)
    if backend is not cuda or x.requires_grad or not logits.is_contiguous() or len(x) == 0:
        pins = torch.arange(logits.shape[1], device=logits.device).view(nodes, n)
        x = x.float() if isinstance(x, Bits) else x
        return lookup(select(x, logits, tau=tau, use_cuda=use_cuda), pins, table, slope, use_cuda=use_cuda)
    if logits.shape != (x.shape[1], nodes * n):
        raise ValueError(f"logits need the shape {(x.shape[1], nodes * n)}, got {tuple(logits.shape)}")
    return _LearnedLookup.apply(accepted(x, backend), logits, table, slope)


class _LearnedLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor | Bits, logits: Tensor, table: Tensor, slope: Tensor) -> Tensor:
        bits, (nodes, m, entries) = cuda.pack(x), table.shape
        n = entries.bit_length() - 1
        y = table.new_empty(nodes * m, len(x))
        codes = cuda.read_tables(bits, len(x), cuda.Wires(cuda.best_inputs(logits).view(nodes, n), len(bits)), table, y)
        ctx.logits, ctx.shape = logits, table.shape
        ctx.save_for_backward(bits, codes, slope)
        return y.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        bits, codes, slope = ctx.saved_tensors
        batch, upstream = len(grad), cuda.Upstream(cuda.feature_major(grad), ctx.shape)
        table_grad = logits_grad = None
        if ctx.needs_input_grad[2]:
            table_grad = cuda.table_gradient(codes, ctx.shape[2].bit_length() - 1, upstream)
        if ctx.needs_input_grad[1]:
            if batch <= FACTORED_BATCH and accepts_factors(ctx.logits):
                ctx.logits.factors = Factors(bits, cuda.pin_gradient(codes, slope, upstream), batch)
            else:
                halves = cuda.pin_gradient(codes, slope, upstream, split=True)
                logits_grad = torch.mm(cuda.signs(bits), halves.t(), out_dtype=torch.float32)
        return None, logits_grad, table_grad, None
