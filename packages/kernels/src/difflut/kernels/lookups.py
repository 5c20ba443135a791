"""The hard look-up: each node reads its table at the address that its inputs form."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cpp
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits, entries_of, holds_bits
from difflut.kernels.choice import Choice
from difflut.kernels.contract import Backend, save_kept, saved_kept
from difflut.kernels.learned import learned_lookup
from difflut.kernels.placements import PlacedWiring, Wiring
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank, check_slope


@untraced
def lookup(
    x: Tensor | Bits | Choice, wiring: Wiring, table: Tensor, slope: Tensor | None = None, *, use_cuda: bool = True
) -> Tensor:
    """Looks up every node of a bank: `y[b, l*m + o] = table[l, o, a]`, `a = sum_j 2**j [x[b, wiring[l, j]] >= 1/2]`.

    The table's gradient is the upstream gradient, added at the address taken. The gradient of input j is the
    difference of `slope` across bit j, `slope[l, o, a | 1 << j] - slope[l, o, a & ~(1 << j)]`: with a smoothed table
    this is the extended finite difference of DWN (https://arxiv.org/abs/2410.11112, section 3.1).

    Args:
        x: Values of any kind and any strides, a bit each by `x >= 1/2`. (batch, features)
        wiring: The inputs that each node reads, least significant address bit first, (L, n), int64, n from 1 to 8; or
            such a wiring with its placements, P of them.
        table: (L, m, 2**n)
        slope: Table that gives the gradient of x; without it x gets none. It gets no gradient itself. (L, m, 2**n)
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other, or the wiring reads an input which there is not.
    """
    reads = check_bank(x, wiring, table)
    if slope is not None:
        check_slope(slope, table)
    if isinstance(x, Choice):
        if slope is not None and x.feeds(reads):
            chosen = x.candidates, x.placements
            return learned_lookup(x.x, x.logits, table, slope, *chosen, tau=x.tau, use_cuda=use_cuda)
        x = x.float()
    backend = backend_for(table, use_cuda)
    return entries_of(table, _Lookup.apply(accepted(x, backend), reads, table, slope, backend))


def are_bits(x: Tensor | Bits | Choice) -> bool:
    """Whether x (batch, features) is known to be 0 and 1 only: noted as such, or what C++ kernels can look through.

    There the relaxed form of a node is its table's entry, with the same gradients but for that of x.
    """
    x = x.x if isinstance(x, Choice) else x
    return isinstance(x, Bits) or holds_bits(x) or (backend_for(x) is cpp and cpp.is_binary(x))


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | Bits, reads: PlacedWiring, table: Tensor, slope: Tensor | None, backend: Backend
    ) -> Tensor:
        y, kept = backend.lookup(x, reads.wiring, table, reads.placements)
        ctx.backend, ctx.placements, ctx.outputs = backend, reads.placements, table.shape[1]
        save_kept(ctx, kept, reads.wiring, slope)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, wiring, slope = saved_kept(ctx)
        x_grad = table_grad = None
        if ctx.needs_input_grad[0] and slope is not None:
            x_grad = ctx.backend.lookup_input_gradient(kept, wiring, slope, grad, ctx.placements)
        if ctx.needs_input_grad[2]:
            table_grad = ctx.backend.lookup_table_gradient(kept, wiring, grad, ctx.outputs, ctx.placements)
        return x_grad, None, table_grad, None, None
