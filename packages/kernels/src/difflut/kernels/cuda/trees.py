"""Trees of banks and the maximum behind them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import image_of, items_of, padded, scratch
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
    inputs: Kept, wiring: Tensor, tables: Sequence[Tensor], placements: Placements, pool: tuple[int, int]
) -> tuple[Tensor, Tensor | None]:
    """The roots' outputs (roots * places, batch) from rows of values or bits, and which windows had the maximum."""
    roots, batch, area = len(tables[-1]), inputs.batch, pool[0] * pool[1]
    y = tables[0].new_empty(roots * placements.count // area, batch)
    items = items_of(placements, batch) // area
    chosen = torch.empty(roots, items * 32, dtype=torch.int32, device=y.device) if area > 1 else None
    launch(_kernel(inputs), *_given(inputs, wiring, tables, placements, pool), y, chosen, _turns(roots, items))
    return y, chosen


def tree_gradients(
    inputs: Kept,
    wiring: Tensor,
    tables: Sequence[Tensor],
    placements: Placements,
    pool: tuple[int, int],
    chosen: Tensor | None,
    grad: Tensor,
    needs_x: bool,
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradients of x (features, batch), where it is needed, and of all tables, from that of the outputs."""
    (leaves, roots), batch, area = (len(tables[0]), len(tables[-1])), inputs.batch, pool[0] * pool[1]
    # As many windows of a place as may be equal have room; nearly always one alone has the maximum.
    places = placements.count // area
    pin_grad = grad.new_empty(2 * leaves, places * area * padded(batch)) if needs_x else None
    sums = grad.new_empty(sum(map(len, tables)), 1, 4)
    parts = _turns(roots, items_of(placements, batch) // area)
    passed = () if inputs.form == "bits" else (pin_grad,)
    arguments = *_given(inputs, wiring, tables, placements, pool), chosen, grad, *passed
    launch(f"{_kernel(inputs)}_gradients", *arguments, sums, scratch(parts, sums), parts)
    table_grads = list(sums.split([len(table) for table in tables]))
    if pin_grad is None:
        return None, table_grads
    x_grad, wires = grad.new_empty(placements.features, batch), wires_of(wiring, placements)
    sizes = len(tables) - 1, *pool, batch, roots
    given = *wires.readers(), wires.spots(), chosen, pin_grad, placements.channels
    launch("tree_input_gradient", image_of(placements), *sizes, *given, x_grad)
    return x_grad, table_grads


def _kernel(inputs: Kept) -> str:
    return "tree_of_bits" if inputs.form == "bits" else "tree"


def _given(
    inputs: Kept, wiring: Tensor, tables: Sequence[Tensor], placements: Placements, pool: tuple[int, int]
) -> tuple[Tensor | int | None, ...]:
    levels = [table.contiguous() for table in tables] + [None] * (MOST_LEVELS + 1 - len(tables))
    sizes = len(tables) - 1, *pool, inputs.batch, len(tables[-1])
    return inputs.data, wires_of(wiring, placements).wiring, image_of(placements), *levels, *sizes


def _turns(roots: int, items: int) -> int:
    """Into how many blocks of eight warps a tree's items are divided, so that they fill a GPU."""
    return max(1, min(-(-items // 8), -(-2048 // max(1, roots)), 65535))
