"""Hard banks one after the other, on packed bits."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from difflut.kernels.cpp.banks import evaluate, fill
from difflut.kernels.cpp.layout import packed, padded
from difflut.kernels.cpp.lookups import input_gradient, table_gradient
from difflut.kernels.placements import PlacedWiring


def look_up_chain(
    x: Tensor, reads: Sequence[PlacedWiring], tables: Sequence[Tensor], groups: int | None, tau: float
) -> tuple[Tensor, list[Tensor]]:
    """The last bank's outputs (batch, L * m * P), or their sums by group (batch, groups), and what each bank reads.

    Raises:
        ValueError: A wiring reads beyond the window.
    """
    batch, bits = len(x), [packed(x, reads[0].placements).data]
    for (read, after), table in zip(pairwise(reads), tables, strict=False):
        y = bits[-1].new_empty(_outputs(table, read), bits[-1].shape[1])
        fill(y, "lookup_bits", bits[-1], batch, read.wiring, table, read.placements)
        bits.append(padded(y, after.placements))
    read, table = reads[-1], tables[-1]
    if groups is None:
        return evaluate("lookup", bits[-1], batch, read.wiring, table, read.placements), bits
    sums, group = torch.empty(groups, batch), _outputs(table, read) // groups
    fill(sums, "lookup_sums", bits[-1], batch, read.wiring, table, read.placements, group, tau)
    return sums.t(), bits


def chain_gradients(
    bits: Sequence[Tensor],
    reads: Sequence[PlacedWiring],
    slopes: Sequence[Tensor | None],
    grad: Tensor,
    outputs: Sequence[int],
    needs_x: bool,
    needs_table: Sequence[bool],
) -> tuple[Tensor | None, list[Tensor | None]]:
    """The gradients of x (batch, features) and of each table, where they are needed and slopes let them through.

    Args:
        bits: Inputs that each bank read, packed.
        reads: The wiring of each bank.
        slopes: Slopes of each bank.
        grad: Gradient of the last bank's outputs, or of groups of these. (rows, batch), contiguous
        outputs: The m of each bank.
        needs_x: Whether the gradient of x is needed.
        needs_table: Whether the gradient of each table is wanted.
    """
    table_grads: list[Tensor | None] = [None] * len(reads)
    group = len(reads[-1].wiring) * outputs[-1] * reads[-1].placements.count // max(1, len(grad))
    for i in reversed(range(len(reads))):
        wiring, placements = reads[i].wiring, reads[i].placements
        if needs_table[i]:
            table_grads[i] = table_gradient(bits[i], wiring, grad, outputs[i], placements, group)
        slope = slopes[i]
        if slope is None or not (needs_x or any(needs_table[:i])):
            return None, table_grads
        grad, group = input_gradient(bits[i], wiring, slope, grad, placements, group), 1
    return grad.t(), table_grads


def _outputs(table: Tensor, read: PlacedWiring) -> int:
    return table.shape[0] * table.shape[1] * read.placements.count
