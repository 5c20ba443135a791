"""The multilinear extension."""

from collections.abc import Sequence

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
    inputs, features = kept.data, placements.features
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
        arguments = inputs, wires.wiring
        if x_grad is not None and placements.is_dense:
            around = wires.orders()[1], *wires.readers(), table, grad
            launch("multilinear_input_gradient", *arguments, *around, x_grad, *sizes)
        elif x_grad is not None:
            extension_image_gradient(inputs, wires.wiring, wires.listeners(), table, grad, placements, x_grad)
        if needs_table:
            parts = _turns(table.shape[0] * table.shape[1], placements.count)
            given = image_of(placements), grad, table_grad, scratch(parts, table), parts
            launch("multilinear_table_gradient", *arguments, *given, *sizes)
    return None if x_grad is None else x_grad.t(), table_grad


def extension_image_gradient(
    x: Tensor,
    wiring: Tensor,
    listeners: Sequence[Tensor | None],
    table: Tensor,
    grad: Tensor,
    placements: Placements,
    x_grad: Tensor,
) -> None:
    """Fills the gradient of x, (features, batch), from that of the outputs, (L * m * P, batch), at many placements.

    Args:
        x: (features, batch)
        wiring: What the nodes read, (L, n), int32
        listeners: Pins that pass back their gradients: see `listeners_of`.
        table: (L, m, 2**n), aligned
        grad: Gradient of the outputs.
        placements: Windows at which the nodes stand.
        x_grad: Room for the result.
    """
    given = x, wiring, table, grad, x_grad, x.shape[1], placements.channels, wiring.shape[1], table.shape[1]
    launch("extension_image_gradient", image_of(placements), *listeners, *given)


def _turns(rows: int, items: int) -> int:
    """Into how many parts the items of a row are divided, so that a warp for each part of each row fills a GPU."""
    return min(items, -(-16384 // max(1, rows)))
