"""The multilinear extension of a bank's tables."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.choice import Choice
from difflut.kernels.contract import Backend, save_kept, saved_kept
from difflut.kernels.learned import learned_extension
from difflut.kernels.lookups import lookup
from difflut.kernels.placements import PlacedWiring, Wiring
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank


@untraced
def multilinear(
    x: Tensor | Bits | Choice, wiring: Wiring, table: Tensor, *, hard: bool = False, use_cuda: bool = True
) -> Tensor:
    """Evaluates `M(x) = sum_a table[a] prod_j x_j**a_j (1 - x_j)**(1 - a_j)` for every node of a bank.

    M is the expected look-up where input j is 1 with probability x_j (https://arxiv.org/abs/2210.08277 for two inputs).
    The gradients are exact, at inputs of exactly 0 and 1 too: `dM/dx_j = M(x | x_j=1) - M(x | x_j=0)`, and
    `dM/dtable[a]` is the corner's weight in the sum.

    Args:
        x: Values in [0, 1], any strides. (batch, features)
        wiring: The inputs that each node reads, least significant address bit first, (L, n), int64, n from 1 to 8; or
            such a wiring with its placements, P of them.
        table: (L, m, 2**n)
        hard: Returns the look-up `table[a]` at the address of `x >= 1/2`; the gradients stay those of M at x.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other, or the wiring reads an input which there is not.
    """
    if isinstance(x, Bits):  # at a corner the extension is the table's entry, and the gradient of the table too
        return lookup(x, wiring, table, use_cuda=use_cuda)
    reads = check_bank(x, wiring, table)
    backend = backend_for(table, use_cuda)
    if isinstance(x, Choice):
        if x.feeds(reads) and (holds_bits(x.x) or not x.placements.is_dense):
            return learned_extension(x, table, hard, backend)
        x = x.float()
    return _Multilinear.apply(x, reads, table, hard, backend)


class _Multilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, reads: PlacedWiring, table: Tensor, hard: bool, backend: Backend) -> Tensor:
        y, kept = backend.multilinear(x, reads.wiring, table, hard, reads.placements)
        ctx.backend, ctx.placements = backend, reads.placements
        save_kept(ctx, kept, reads.wiring, table)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, wiring, table = saved_kept(ctx)
        needs_x, _, needs_table, *_ = ctx.needs_input_grad
        x_grad, table_grad = ctx.backend.multilinear_gradients(
            kept, wiring, table, grad, ctx.placements, needs_x, needs_table
        )
        return x_grad, None, table_grad, None, None
