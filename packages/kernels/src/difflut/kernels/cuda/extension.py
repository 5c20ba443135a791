"""The multilinear extension."""

import torch
from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, feature_major, image_of, items_of, parts_of, scratch
from difflut.kernels.cuda.lookups import lookup
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements

FUSED_INPUTS = 3  # inputs of nodes up to which one kernel finds both gradients


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.multilinear`; x is kept feature-major."""
    inputs, batch = feature_major(x), len(x)
    if hard:
        return lookup(x, wiring, table, placements)[0], Kept(inputs, batch, "values")
    rows = table.shape[0] * table.shape[1]
    y, wires = table.new_empty(rows * placements.count, batch), wires_of(wiring, placements)
    arguments = inputs, wires.wiring, image_of(placements), wires.orders()[0], aligned(table)
    parts = parts_of(rows, batch) if placements.is_dense else _turns(rows, items_of(placements, batch))
    launch("multilinear", *arguments, y, parts, batch, placements.features, *bank_sizes(wiring, table))
    return y.t(), Kept(inputs, batch, "values")


def multilinear_gradients(
    kept: Kept,
    wiring: Tensor,
    table: Tensor,
    grad: Tensor,
    placements: Placements,
    needs_x: bool,
    needs_table: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """See `Backend.multilinear_gradients`."""
    inputs, features, image = kept.data, placements.features, image_of(placements)
    x_grad = torch.empty_like(inputs) if needs_x else None
    table_grad = torch.empty_like(table, memory_format=torch.contiguous_format) if needs_table else None
    wires, grad, table = wires_of(wiring, placements), feature_major(grad), aligned(table)
    sizes = kept.batch, features, *bank_sizes(wiring, table)
    if needs_x and needs_table and placements.is_dense and wiring.shape[1] <= FUSED_INPUTS:
        parts = parts_of(max(features, len(grad)), kept.batch)
        gradients = x_grad, table_grad, scratch(parts, table), parts
        ordered = inputs, wires.wiring, *wires.orders(), *wires.readers(), table, grad
        launch("multilinear_gradients", *ordered, *gradients, *sizes)
    else:
        arguments = inputs, wires.wiring, image
        if needs_x:
            order = wires.orders()[1]
            launch("multilinear_input_gradient", *arguments, order, *wires.readers(), table, grad, x_grad, *sizes)
        if needs_table:
            parts = _turns(table.shape[0] * table.shape[1], placements.count)
            launch("multilinear_table_gradient", *arguments, grad, table_grad, scratch(parts, table), parts, *sizes)
    return None if x_grad is None else x_grad.t(), table_grad


def _turns(rows: int, items: int) -> int:
    """Into how many parts the items of a row are divided, so that a warp for each part of each row fills a GPU."""
    return min(items, -(-16384 // max(1, rows)))
