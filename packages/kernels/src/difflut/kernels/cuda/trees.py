"""Trees of banks and the maximum behind them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, image_of, items_of, scratch
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements

MOST_LEVELS = 2  # levels above the leaves that the kernels know


def fits_tree(wiring: Tensor, tables: Sequence[Tensor], placements: Placements, pool: tuple[int, int]) -> bool:
    """Whether the kernels know such trees: at many placements, of nodes with two inputs and one output."""
    gates = wiring.shape[1] == 2 and all(table.shape[1:] == (1, 4) for table in tables)
    gates = gates and all(len(below) == 2 * len(table) for below, table in pairwise(tables))
    pooled = placements.out_height % pool[0] == placements.out_width % pool[1] == 0 and pool[0] * pool[1] <= 8
    return gates and pooled and 2 <= len(tables) <= MOST_LEVELS + 1 and not placements.is_dense


def tree(
    rows: Tensor, wiring: Tensor, tables: Sequence[Tensor], placements: Placements, pool: tuple[int, int]
) -> tuple[Tensor, Tensor | None]:
    """The roots' outputs (roots * places, batch) from rows (features, batch), and which windows had the maximum."""
    roots, batch, area = len(tables[-1]), rows.shape[1], pool[0] * pool[1]
    y = rows.new_empty(roots * placements.count // area, batch)
    items = items_of(placements, batch) // area
    chosen = torch.empty(roots, items * 32, dtype=torch.int32, device=rows.device) if area > 1 else None
    launch("tree", *_given(rows, wiring, tables, placements, pool), y, chosen, _turns(roots, items))
    return y, chosen


def tree_gradients(
    rows: Tensor,
    wiring: Tensor,
    tables: Sequence[Tensor],
    placements: Placements,
    pool: tuple[int, int],
    chosen: Tensor | None,
    grad: Tensor,
    needs_x: bool,
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradients of x (features, batch), where it is needed, and of all tables, from that of the outputs."""
    (leaves, roots), batch = (len(tables[0]), len(tables[-1])), rows.shape[1]
    leaf_grad = rows.new_empty(leaves * placements.count, batch) if needs_x else None
    sums = rows.new_empty(roots, 2 * leaves // roots, 4)
    parts = _turns(roots, items_of(placements, batch) // (pool[0] * pool[1]))
    given = *_given(rows, wiring, tables, placements, pool), chosen, grad
    launch("tree_gradients", *given, leaf_grad, sums, scratch(parts, sums), parts)
    each = sums[:, :-1].split([len(table) // roots for table in tables], 1)
    table_grads = [found.reshape(table.shape) for found, table in zip(each, tables, strict=True)]
    if leaf_grad is None:
        return None, table_grads
    x_grad, wires = torch.empty_like(rows), wires_of(wiring, placements)
    reads = rows, wires.wiring, image_of(placements), None, *wires.readers()
    sizes = batch, placements.features, leaves, 2, 1
    launch("multilinear_input_gradient", *reads, aligned(tables[0]), leaf_grad, x_grad, *sizes)
    return x_grad, table_grads


def _given(
    rows: Tensor, wiring: Tensor, tables: Sequence[Tensor], placements: Placements, pool: tuple[int, int]
) -> tuple[Tensor | int | None, ...]:
    levels = [table.contiguous() for table in tables] + [None] * (MOST_LEVELS + 1 - len(tables))
    sizes = len(tables) - 1, *pool, rows.shape[1], len(tables[-1])
    return rows, wires_of(wiring, placements).wiring, image_of(placements), *levels, *sizes


def _turns(roots: int, items: int) -> int:
    """Into how many blocks of eight warps a tree's items are divided, so that they fill a GPU."""
    return max(1, min(-(-items // 8), -(-2048 // max(1, roots)), 65535))
