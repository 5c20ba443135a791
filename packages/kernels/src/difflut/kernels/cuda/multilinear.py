"""The multilinear extension."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import SAMPLES, aligned, bank_sizes, feature_major, padded
from difflut.kernels.cuda.lookup import lookup
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements

FUSED_INPUTS = 3  # of nodes whose gradients are found by one kernel


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.multilinear`; x is kept feature-major."""
    if not placements.is_dense:
        return reference.multilinear(x, wiring, table, hard, placements)
    inputs, (batch, features) = feature_major(x), x.shape
    if hard:
        return lookup(x, wiring, table, placements)[0], Kept(inputs, batch, "values")
    y = table.new_empty(table.shape[0] * table.shape[1], batch)
    wires = wires_of(wiring, features)
    given = inputs, wires.wiring, wires.orders()[0], aligned(table)
    launch("multilinear", *given, y, _parts(len(y), batch), batch, features, *bank_sizes(wiring, table))
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
    if not placements.is_dense:
        return reference.multilinear_gradients(kept, wiring, table, grad, placements, needs_x, needs_table)
    inputs, features = kept.data, placements.features
    x_grad = torch.empty_like(inputs) if needs_x else None
    table_grad = torch.empty_like(table, memory_format=torch.contiguous_format) if needs_table else None
    wires, grad, table = wires_of(wiring, features), feature_major(grad), aligned(table)
    sizes = kept.batch, features, *bank_sizes(wiring, table)
    given = inputs, wires.wiring
    if needs_x and needs_table and wiring.shape[1] <= FUSED_INPUTS:
        parts = _parts(max(features, len(grad)), kept.batch)
        scratch = None if parts == 1 else table.new_empty(parts, *table.shape)
        found = x_grad, table_grad, scratch, parts
        launch("multilinear_gradients", *given, *wires.orders(), *wires.readers(), table, grad, *found, *sizes)
    else:
        if needs_x:
            order = wires.orders()[1]
            launch("multilinear_input_gradient", *given, order, *wires.readers(), table, grad, x_grad, *sizes)
        if needs_table:
            launch("multilinear_table_gradient", *given, grad, table_grad, *sizes)
    return None if x_grad is None else x_grad.t(), table_grad


def _parts(rows: int, batch: int) -> int:
    """Into how many equal parts the batch is divided, so that a warp for each and row fills a GPU."""
    quads, rows = max(1, padded(batch) // SAMPLES), max(1, rows)
    most = max(8192 // rows, min(quads // 8, 32768 // rows), 1)
    length = -(-quads // min(most, 32))
    return -(-quads // length)
