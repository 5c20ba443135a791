"""The hard look-up behind a learnable wiring, among all inputs or few candidates, as one operation."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.factors import Factors, accepts_factors
from difflut.kernels.lookup import entries_of
from difflut.kernels.select import Choice, check_choice
from difflut.kernels.validation import check_slope, check_table

FACTORED_BATCH = 64  # up to here it is quicker to form the gradient of the logits where it is used


def learned_lookup(
    x: Tensor | Bits,
    logits: Tensor,
    table: Tensor,
    slope: Tensor,
    candidates: Tensor | None = None,
    *,
    tau: float = 0.001,
    use_cuda: bool = True,
) -> Tensor:
    """Looks up nodes whose pins read their best inputs: `lookup(select(x, logits, candidates), pins, table, slope)`.

    What the pins read is never written down. On a GPU, without candidates and where x is known to be bits and needs no
    gradient, that of the pins is kept in bfloat16 pairs (16 bits of precision). Without candidates, and for small
    batches, `Adam` may take the gradient of the logits as two factors (see `accept_factors`).

    Args:
        x: (batch, features)
        logits: See `select`, of P = L * n pins in the order of the nodes.
        table: (L, m, 2**n)
        slope: (L, m, 2**n)
        candidates: See `select`.
        tau: See `select`.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    check_choice(x, logits, candidates, tau)
    n = check_table(x, table)
    check_slope(slope, table)
    pins = logits.shape[1] if candidates is None else logits.shape[0]
    if pins != len(table) * n:
        raise ValueError(f"{len(table)} nodes of n={n} need {len(table) * n} pins, got logits of {pins}")
    backend = backend_for(table, use_cuda)
    if backend is cuda and candidates is None and _serves_dense(x, logits):
        return entries_of(table, _DenseOnGPU.apply(x, logits, table, slope))
    return entries_of(table, _LearnedLookup.apply(accepted(x, backend), logits, table, slope, candidates, tau, backend))


def _serves_dense(x: Tensor | Bits, logits: Tensor) -> bool:
    return holds_bits(x) and not x.requires_grad and logits.is_contiguous() and len(x) > 0


class _LearnedLookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor | Bits,
        logits: Tensor,
        table: Tensor,
        slope: Tensor,
        candidates: Tensor | None,
        tau: float,
        backend: ModuleType,
    ) -> Tensor:
        inputs, chosen = backend.choose(x, logits, candidates)
        wiring = chosen.view(len(table), -1)
        y, code = backend.lookup(x, wiring, table)
        ctx.choice, ctx.outputs = Choice(ctx, backend, logits, x.shape[1], tau), table.shape[1]
        ctx.save_for_backward(
            inputs, logits if ctx.needs_input_grad[0] else None, candidates, chosen, wiring, code, slope
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *chosen, wiring, code, slope = ctx.saved_tensors
        backend, needed = ctx.choice.backend, ctx.needs_input_grad
        x_grad = logits_grad = table_grad = None
        if needed[0] or needed[1]:
            pin_grad = backend.lookup_pin_gradient(code, wiring, slope, grad)
            x_grad, logits_grad = ctx.choice.gradients(*chosen, pin_grad)
        if needed[2]:
            table_grad = backend.lookup_table_gradient(code, wiring, grad, ctx.outputs)
        return x_grad, logits_grad, table_grad, None, None, None, None


class _DenseOnGPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor | Bits, logits: Tensor, table: Tensor, slope: Tensor) -> Tensor:
        bits = cuda.pack(x)
        y, codes = cuda.lookup(Bits(bits, len(x)), cuda.best_inputs(logits).view(len(table), -1), table)
        ctx.logits, ctx.shape = logits, table.shape
        ctx.save_for_backward(bits, codes, slope)
        return y

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
