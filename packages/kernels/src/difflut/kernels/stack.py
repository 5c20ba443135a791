"""Consecutive hard layers as one operation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cpp, cuda
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.grouping import group_sum
from difflut.kernels.lookups import entries_of, lookup
from difflut.kernels.placements import PlacedWiring, Wiring
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank


class HardBank(NamedTuple):
    """What `lookup` needs besides its input."""

    wiring: Wiring
    table: Tensor
    slope: Tensor | None


@untraced
def lookup_stack(
    x: Tensor | Bits, banks: Sequence[HardBank], groups: int | None = None, tau: float = 1.0, *, use_cuda: bool = True
) -> Tensor:
    """Looks up banks one after the other, and sums the last one's outputs by class.

    The same as `lookup` for each bank and a sum over `groups` equal stretches of the outputs, divided by `tau`. With
    compiled kernels the activations between the banks stay packed bits, and the last bank's outputs and their gradients
    are not written down where they are summed; on a GPU, nor are the gradients between the last two.

    Args:
        x: Inputs, as for `lookup`, or packed bits. (batch, features)
        banks: Banks, each of which reads the outputs of the one before, at placements of its own.
        groups: Number of classes; where not given, the last bank's outputs are returned.
        tau: Temperature that divides the sums.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, groups) or (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    reads, outputs = _check_chain(x, banks)
    if groups is not None and outputs % groups:
        raise ValueError(f"{outputs} outputs cannot be divided into groups={groups} equal groups")
    backend = backend_for(banks[-1].table, use_cuda)
    if backend in (cpp, cuda):
        stack = _Stack if backend is cuda else _StackOnCPU
        arguments = reads, [bank.slope for bank in banks], groups, tau, *(bank.table for bank in banks)
        y = stack.apply(accepted(x, backend), *arguments)
        return y if groups is not None else entries_of(banks[-1].table, y)
    y = lookup(x, *banks[0], use_cuda=use_cuda)
    for bank in banks[1:]:
        y = lookup(y, *bank, use_cuda=use_cuda)
    return y if groups is None else group_sum(y, groups) / tau


def _check_chain(x: Tensor | Bits, banks: Sequence[HardBank]) -> tuple[list[PlacedWiring], int]:
    """Checks that each bank fits the one before; returns their wirings with placements, and the last one's outputs."""
    reads = []
    for bank in banks:
        reads.append(check_bank(x, bank.wiring, bank.table))
        outputs = bank.table.shape[0] * bank.table.shape[1] * reads[-1].placements.count
        x = bank.table.new_empty(()).expand(len(x), outputs)
    return reads, x.shape[1]


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor | Bits,
        reads: Sequence[PlacedWiring],
        slopes: Sequence[Tensor | None],
        groups: int | None,
        tau: float,
        *tables: Tensor,
    ) -> Tensor:
        batch, bits, codes = len(x), cuda.pack(x), []
        for read, table in zip(reads[:-1], tables[:-1], strict=True):
            next_bits = cuda.empty_bits(_outputs(table, read), bits, batch)
            wires = cuda.wires_of(read.wiring, read.placements)
            codes.append(cuda.read_tables(bits, batch, wires, table, None, next_bits))
            bits = next_bits
        wires, outputs = cuda.wires_of(reads[-1].wiring, reads[-1].placements), _outputs(tables[-1], reads[-1])
        sums_codes = groups is not None and reads[-1].placements.is_dense
        y = tables[-1].new_empty(groups if groups is not None and sums_codes else outputs, batch)
        codes.append(cuda.read_tables(bits, batch, wires, tables[-1], None if sums_codes else y))
        if sums_codes:
            cuda.group_sum(codes[-1], tables[-1], tau, y)
        elif groups is not None:
            y = y.unflatten(0, (groups, -1)).sum(1) / tau
        ctx.groups, ctx.tau, ctx.placements = groups, tau, [read.placements for read in reads]
        ctx.shapes = [table.shape for table in tables]
        ctx.save_for_backward(*codes, *(read.wiring for read in reads), *slopes)
        return y.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.shapes)
        codes, wirings, slopes = (ctx.saved_tensors[i : i + count] for i in range(0, 3 * count, count))
        needs_x, needs_table = ctx.needs_input_grad[0] and slopes[0] is not None, ctx.needs_input_grad[5:]
        x_grad: Tensor | None = None
        table_grads: list[Tensor | None] = [None] * count
        scale = 1.0 if ctx.groups is None else 1 / ctx.tau
        upstream = cuda.Upstream(cuda.feature_major(grad), ctx.shapes[-1], ctx.placements[-1], scale)
        if needs_table[-1]:
            table_grads[-1] = cuda.table_gradient(codes[-1], wirings[-1].shape[1], upstream)
        for i in reversed(range(count - 1)):
            below = i > 0 and any(needs_table[:i])
            if slopes[i + 1] is None or not (needs_table[i] or below or needs_x):
                return None, None, None, None, None, *table_grads
            bank = codes[i], wirings[i], ctx.shapes[i], ctx.placements[i]
            after = codes[i + 1], wirings[i + 1], slopes[i + 1], upstream
            table_grads[i], between = cuda.chained_gradient(*bank, *after, needs_table[i], below or needs_x)
            if between is None:  # no earlier bank needs a gradient
                break
            upstream = between
        if needs_x:
            x_grad = cuda.input_gradient(codes[0], wirings[0], slopes[0], upstream).t()
        return x_grad, None, None, None, None, *table_grads


class _StackOnCPU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        reads: Sequence[PlacedWiring],
        slopes: Sequence[Tensor | None],
        groups: int | None,
        tau: float,
        *tables: Tensor,
    ) -> Tensor:
        y, bits = cpp.look_up_chain(x, reads, tables, groups, tau)
        ctx.placements, ctx.scale = [read.placements for read in reads], 1.0 if groups is None else 1 / tau
        ctx.outputs = [table.shape[1] for table in tables]
        ctx.save_for_backward(*bits, *(read.wiring for read in reads), *slopes)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.outputs)
        bits, wirings, slopes = (ctx.saved_tensors[i : i + count] for i in range(0, 3 * count, count))
        reads = list(map(PlacedWiring, wirings, ctx.placements))
        grad = cpp.feature_major(grad if ctx.scale == 1 else grad * ctx.scale)
        needs_x, _, _, _, _, *needs_table = ctx.needs_input_grad
        x_grad, table_grads = cpp.chain_gradients(bits, reads, slopes, grad, ctx.outputs, needs_x, needs_table)
        return x_grad, None, None, None, None, *table_grads


def _outputs(table: Tensor, read: PlacedWiring) -> int:
    return table.shape[0] * table.shape[1] * read.placements.count
