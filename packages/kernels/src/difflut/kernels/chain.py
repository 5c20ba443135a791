"""Dense banks of multilinear extensions, one after the other, as one operation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.extension import multilinear
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank


@untraced
def multilinear_chain(
    x: Tensor | Bits, wirings: Sequence[Tensor], tables: Sequence[Tensor], *, use_cuda: bool = True
) -> Tensor:
    """`multilinear` of dense banks, each of which reads the one before.

    Banks of nodes with two inputs that read every output once are trees, up to the order of their nodes: as those of
    `multilinear_tree`, a GPU neither writes down nor keeps what they give each other.

    Args:
        x: Inputs, as for `multilinear`. (batch, features)
        wirings: Inputs that the nodes of each bank read, (L, n) of each.
        tables: Tables of each bank, (L, m, 2**n) of each.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m) of the last bank, stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    count = 1
    if backend_for(tables[0], use_cuda) is cuda and not isinstance(x, Bits):
        count = cuda.tree_levels(wirings, tables)
    if count > 1:
        check_bank(x, wirings[0], tables[0])
        y = _DenseTrees.apply(x, cuda.forest_of(wirings[:count], x.shape[1]), *tables[:count])
    else:
        y = multilinear(x, wirings[0], tables[0], use_cuda=use_cuda)
    return multilinear_chain(y, wirings[count:], tables[count:], use_cuda=use_cuda) if count < len(tables) else y


class _DenseTrees(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forest: cuda.Forest, *tables: Tensor) -> Tensor:
        rows = cuda.feature_major(x)
        ctx.forest = forest
        ctx.save_for_backward(rows, *tables)
        return cuda.dense_tree_outputs(rows, forest, tables).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, *tables = ctx.saved_tensors
        grad = cuda.feature_major(grad)
        x_grad, table_grads = cuda.dense_tree_gradients(rows, ctx.forest, tables, grad, ctx.needs_input_grad[0])
        return None if x_grad is None else x_grad.t(), None, *table_grads
