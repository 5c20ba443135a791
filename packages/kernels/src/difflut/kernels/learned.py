"""The hard look-up behind a learnable wiring, among all inputs or few candidates, as one operation."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.factors import Factors, accepts_factors
from difflut.kernels.lookup import lookup, own_inputs
from difflut.kernels.select import select

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

    On a GPU the inputs stay packed bits. Without candidates the gradient of the pins is kept in bfloat16 pairs (16 bits
    of precision), for small batches `Adam` may take the gradient of the logits as two factors (see `accept_factors`),
    and the gradient of x is left to the two operations.

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
    nodes, n = len(table), table.shape[-1].bit_length() - 1
    backend = backend_for(table, use_cuda)
    is_fused = candidates is not None or (not x.requires_grad and logits.is_contiguous())
    if backend is not cuda or not is_fused or len(x) == 0:
        pins = own_inputs(nodes, n, logits.device)
        return lookup(select(x, logits, candidates, tau=tau, use_cuda=use_cuda), pins, table, slope, use_cuda=use_cuda)
    if candidates is not None:
        if logits.shape != candidates.shape or len(logits) != nodes * n:
            raise ValueError(
                f"logits and candidates need one shape and {nodes * n} rows, "
                f"got {tuple(logits.shape)} and {tuple(candidates.shape)}"
            )
        return _CandidatesLookup.apply(x, logits, table, slope, candidates, tau)
    if logits.shape != (x.shape[1], nodes * n):
        raise ValueError(f"logits need the shape {(x.shape[1], nodes * n)}, got {tuple(logits.shape)}")
    return _LearnedLookup.apply(x, logits, table, slope)


def _read(bits: Tensor, batch: int, wiring: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """What the nodes give, (L * m, batch), and the addresses taken."""
    y = table.new_empty(table.shape[0] * table.shape[1], batch)
    wires = cuda.Wires(wiring.view(len(table), -1), len(bits))
    return y, cuda.read_tables(bits, batch, wires, table, y)


class _LearnedLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor | Bits, logits: Tensor, table: Tensor, slope: Tensor) -> Tensor:
        bits = cuda.pack(x)
        y, codes = _read(bits, len(x), cuda.best_inputs(logits), table)
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


class _CandidatesLookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | Bits, logits: Tensor, table: Tensor, slope: Tensor, candidates: Tensor, tau: float
    ) -> Tensor:
        bits, among = cuda.pack(x), cuda.wires_of(candidates, x.shape[1])
        y, codes = _read(bits, len(x), cuda.best_candidates(logits, among), table)
        ctx.tau, ctx.shape = tau, table.shape
        ctx.save_for_backward(bits, codes, slope, logits, candidates)
        return y.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        bits, codes, slope, logits, candidates = ctx.saved_tensors
        batch, upstream = len(grad), cuda.Upstream(cuda.feature_major(grad), ctx.shape)
        among, needed = cuda.wires_of(candidates, len(bits)), ctx.needs_input_grad
        x_grad = logits_grad = table_grad = None
        if needed[0] or needed[1]:
            pins_grad = cuda.pin_gradient(codes, slope, upstream)
            x_grad = cuda.candidates_input_gradient(logits, among, ctx.tau, pins_grad, batch) if needed[0] else None
            logits_grad = cuda.candidates_gradient(bits, among, pins_grad, batch) if needed[1] else None
        if needed[2]:
            table_grad = cuda.table_gradient(codes, ctx.shape[2].bit_length() - 1, upstream)
        return x_grad, logits_grad, table_grad, None, None, None
