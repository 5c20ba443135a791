"""The multilinear extension and its gradients."""

import torch
from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cpp.banks import evaluate
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, is_binary, sizes, values
from difflut.kernels.cpp.lookups import lookup, lookup_input_gradient, lookup_table_gradient
from difflut.kernels.placements import Placements


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.multilinear`.

    Where all of x is 0 or 1, as behind an encoder, the extension and its gradients are those of the look-up: then its
    faster kernels do the work, and the bits are all that is kept of x.
    """
    if is_binary(x):
        return lookup(x, wiring, table, placements)
    inputs = values(x, placements)
    if hard:
        return lookup(x, wiring, table, placements)[0], inputs
    return evaluate("multilinear", inputs.data, len(x), wiring, table, placements), inputs


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
    x_grad = table_grad = None
    rows, m = feature_major(grad), table.shape[1]
    if kept.form == "bits":
        x_grad = lookup_input_gradient(kept, wiring, table, rows.t(), placements) if needs_x else None
        table_grad = lookup_table_gradient(kept, wiring, rows.t(), m, placements) if needs_table else None
        return x_grad, table_grad
    wiring, extents = wiring.contiguous(), (sizes(placements), kept.batch, *wiring.shape, m)
    if needs_x:
        x_grad = grad.new_empty(placements.features, kept.batch)
        call("multilinear_input_gradient", kept.data, wiring, table.contiguous(), rows, x_grad, *extents)
        x_grad = x_grad.t()
    if needs_table:
        table_grad = torch.empty_like(table, memory_format=torch.contiguous_format)
        call("multilinear_table_gradient", kept.data, wiring, rows, table_grad, *extents)
    return x_grad, table_grad
