"""Hard layers that read nothing but the one before, as one operation on a GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits, entries_of
from difflut.kernels.grouping import group_sum
from difflut.kernels.hard_banks import HardBank
from difflut.kernels.lookups import lookup
from difflut.kernels.placements import PlacedWiring


def lookup_stack(
    x: Tensor | Bits, banks: Sequence[HardBank], groups: int | None, tau: float, *, use_cuda: bool
) -> Tensor:
    """Looks up banks one after the other, and sums the last one's outputs by class: see `lookup_graph`.

    On a GPU the activations between the banks stay packed bits, and the last bank's outputs and their gradients are not
    written down where they are summed, nor are the gradients between the last two. The wirings have their placements.
    """
    if backend_for(banks[-1].table, use_cuda) is cuda:
        arguments = (
            [bank.wiring for bank in banks],
            [bank.slope for bank in banks],
            groups,
            tau,
            *(bank.table for bank in banks),
        )
        y = _Stack.apply(accepted(x, cuda), *arguments)
        return y if groups is not None else entries_of(banks[-1].table, y)
    y = lookup(x, *banks[0], use_cuda=use_cuda)
    for bank in banks[1:]:
        y = lookup(y, *bank, use_cuda=use_cuda)
    return y if groups is None else group_sum(y, groups) / tau


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
        batch, bits, kept_codes, learns = len(x), cuda.pack(x), list[Tensor](), any(ctx.needs_input_grad)
        for read, table in zip(reads[:-1], tables[:-1], strict=True):
            next_bits = cuda.empty_bits(_outputs(table, read), bits, batch)
            wires = cuda.wires_of(read.wiring, read.placements)
            codes = cuda.read_tables(bits, batch, wires, table, None, next_bits)
            if learns:  # otherwise their memory may be used again
                kept_codes.append(codes)
            bits = next_bits
        ctx.groups, ctx.tau, ctx.placements = groups, tau, [read.placements for read in reads]
        ctx.shapes = [table.shape for table in tables]
        if groups is None:
            y, kept = cuda.lookup(Bits(bits, batch), reads[-1].wiring, tables[-1], reads[-1].placements)
            ctx.save_for_backward(*kept_codes, kept.data, *(read.wiring for read in reads), *slopes)
            return y
        wires, outputs = cuda.wires_of(reads[-1].wiring, reads[-1].placements), _outputs(tables[-1], reads[-1])
        sums_codes = reads[-1].placements.is_dense
        y = tables[-1].new_empty(groups if sums_codes else outputs, batch)
        codes = cuda.read_tables(bits, batch, wires, tables[-1], None if sums_codes else y)
        if sums_codes:
            cuda.group_sum(codes, tables[-1], tau, y)
        else:
            y = y.unflatten(0, (groups, -1)).sum(1) / tau
        ctx.save_for_backward(*kept_codes, codes, *(read.wiring for read in reads), *slopes)
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


def _outputs(table: Tensor, read: PlacedWiring) -> int:
    return table.shape[0] * table.shape[1] * read.placements.count
