"""Trees of banks: a convolution whose kernels are trees of nodes, and the pooling behind it, as one operation."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.contract import Kept, save_kept, saved_kept
from difflut.kernels.extension import multilinear
from difflut.kernels.extremes import maximum
from difflut.kernels.placements import PlacedWiring, Placements, Wiring, own_inputs
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank


@untraced
def multilinear_tree(
    x: Tensor | Bits,
    wiring: Wiring,
    tables: Sequence[Tensor],
    pool: tuple[int, int] = (1, 1),
    *,
    use_cuda: bool = True,
) -> Tensor:
    """`multilinear` of banks in which node l reads the outputs n l to n l + n - 1 of the bank before, and a maximum.

    Where nodes have two inputs, a GPU neither writes down nor keeps what the banks give each other. Their leaves read
    known bits that need no gradient packed, and gradients are found at the windows alone that have the maximum.

    Args:
        x: Inputs, as for `multilinear`. (batch, features)
        wiring: Inputs that the leaves read, (L, n), with or without its P placements.
        tables: Tables of the leaves (L, m, 2**n), and of each level above.
        pool: Height and width of the stretches of placements, side by side, of which the `maximum` is taken.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L' * m' * P'), of the last bank's L' nodes at the P' stretches that there are.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    reads = check_bank(x, wiring, tables[0])
    if backend_for(tables[0], use_cuda) is cuda and cuda.fits_tree(reads.wiring, tables, reads.placements, pool):
        return _Tree.apply(x, reads, pool, *tables)
    height, width = reads.placements.out_height, reads.placements.out_width
    y = multilinear(x, reads, tables[0], use_cuda=use_cuda)
    for table in tables[1:]:
        inputs = own_inputs(len(table), table.shape[2].bit_length() - 1, x.device)
        level = PlacedWiring(inputs, Placements(inputs.numel(), height, width))
        y = multilinear(y, level, table, use_cuda=use_cuda)
    if pool == (1, 1):
        return y
    channels = tables[-1].shape[0] * tables[-1].shape[1]
    windows = own_inputs(channels, pool[0] * pool[1], x.device)
    where = Placements(channels, height, width, pool, pool)
    return maximum(y, PlacedWiring(windows, where), use_cuda=use_cuda)


class _Tree(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor | Bits, reads: PlacedWiring, pool: tuple[int, int], *tables: Tensor) -> Tensor:
        if holds_bits(x) and not ctx.needs_input_grad[0]:
            inputs = Kept(cuda.pack(x), len(x), "bits")
        else:
            inputs = Kept(cuda.feature_major(cast(Tensor, x)), len(x), "values")
        y, chosen = cuda.tree(inputs, reads.wiring, tables, reads.placements, pool)
        ctx.placements, ctx.pool = reads.placements, pool
        save_kept(ctx, inputs, reads.wiring, chosen, *tables)
        return y.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, wiring, chosen, *tables = saved_kept(ctx)
        given = inputs, wiring, tables, ctx.placements, ctx.pool, chosen, cuda.feature_major(grad)
        x_grad, table_grads = cuda.tree_gradients(*given, ctx.needs_input_grad[0])
        return None if x_grad is None else x_grad.t(), None, None, *table_grads
