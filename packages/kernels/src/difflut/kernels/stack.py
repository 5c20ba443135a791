"""Consecutive hard layers as one operation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.group_sum import group_sum
from difflut.kernels.lookup import lookup
from difflut.kernels.placements import PlacedWiring, Wiring
from difflut.kernels.validation import check_bank


class HardBank(NamedTuple):
    """What `lookup` needs besides its input."""

    wiring: Wiring
    table: Tensor
    slope: Tensor | None


def lookup_stack(
    x: Tensor | Bits, banks: Sequence[HardBank], groups: int | None = None, tau: float = 1.0, *, use_cuda: bool = True
) -> Tensor:
    """Looks up banks one after the other, and sums the last one's outputs by class.

    The same as `lookup` for each bank and a sum over `groups` equal stretches of the outputs, divided by `tau`. On a
    GPU the activations between the banks stay packed bits, and gradients between the last two are never written down.

    Args:
        x: As for `lookup`, or packed bits. (batch, features)
        banks: Each reads the outputs of the one before, at placements of its own.
        groups: Classes; without them the last bank's outputs are returned.
        tau: Divides the sums.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, groups) or (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    reads, outputs = _check_chain(x, banks)
    if groups is not None and outputs % groups:
        raise ValueError(f"{outputs} outputs cannot be divided into groups={groups} equal groups")
    if backend_for(banks[-1].table, use_cuda) is cuda and all(read.placements.is_dense for read in reads):
        slopes = tuple(bank.slope for bank in banks)
        wirings, tables = tuple(read.wiring for read in reads), tuple(bank.table for bank in banks)
        return _Stack.apply(x, wirings, slopes, groups, tau, *tables)
    for bank in banks:
        x = lookup(x, *bank, use_cuda=use_cuda)
    return x if groups is None else group_sum(x, groups) / tau


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
        wirings: tuple[Tensor, ...],
        slopes: tuple[Tensor | None, ...],
        groups: int | None,
        tau: float,
        *tables: Tensor,
    ) -> Tensor:
        batch, features = x.shape
        bits, codes = cuda.pack(x), []
        for wiring, table in zip(wirings[:-1], tables[:-1], strict=True):
            rows = table.shape[0] * table.shape[1]
            next_bits = bits.new_empty(rows, bits.shape[1])
            codes.append(cuda.read_tables(bits, batch, cuda.wires_of(wiring, len(bits)), table, None, next_bits))
            bits = next_bits
        rows = tables[-1].shape[0] * tables[-1].shape[1]
        y = tables[-1].new_empty(rows if groups is None else groups, batch)
        wires = cuda.wires_of(wirings[-1], len(bits))
        codes.append(cuda.read_tables(bits, batch, wires, tables[-1], y if groups is None else None))
        if groups is not None:
            cuda.group_sum(codes[-1], tables[-1], tau, y)
        ctx.features, ctx.groups, ctx.tau = features, groups, tau
        ctx.shapes = [table.shape for table in tables]
        ctx.save_for_backward(*codes, *wirings, *slopes)
        return y.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.shapes)
        codes, wirings, slopes = (ctx.saved_tensors[i : i + count] for i in range(0, 3 * count, count))
        needs_x, needs_table = ctx.needs_input_grad[0] and slopes[0] is not None, ctx.needs_input_grad[5:]
        x_grad, table_grads = None, [None] * count
        scale = 1.0 if ctx.groups is None else 1 / ctx.tau
        upstream = cuda.Upstream(cuda.feature_major(grad), ctx.shapes[-1], scale)
        if needs_table[-1]:
            table_grads[-1] = cuda.table_gradient(codes[-1], wirings[-1].shape[1], upstream)
        for i in reversed(range(count - 1)):
            below = i > 0 and any(needs_table[:i])
            if slopes[i + 1] is None or not (needs_table[i] or below or needs_x):
                return None, None, None, None, None, *table_grads
            table_grads[i], upstream = cuda.chained_gradient(
                codes[i],
                wirings[i],
                ctx.shapes[i],
                codes[i + 1],
                wirings[i + 1],
                slopes[i + 1],
                upstream,
                below or needs_x,
            )
        if needs_x:
            x_grad = cuda.input_gradient(codes[0], wirings[0], slopes[0], upstream, ctx.features).t()
        return x_grad, None, None, None, None, *table_grads
