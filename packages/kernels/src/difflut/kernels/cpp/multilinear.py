"""The multilinear extension and its gradients."""

import torch
from torch import Tensor

from difflut.kernels.cpp.banks import evaluate
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, is_binary
from difflut.kernels.cpp.lookup import lookup, lookup_input_gradient, lookup_table_gradient


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool) -> tuple[Tensor, Tensor]:
    """The multilinear extension, or the look-up where `hard`, (batch, L * m), and x stored feature-major.

    Where all of x is 0 or 1, as behind an encoder, the extension and its gradients are those of the look-up: then its
    faster kernels do the work, and the bits are all that is kept of x.
    """
    if is_binary(x):
        return lookup(x, wiring, table)
    if hard:
        return lookup(x, wiring, table)[0], feature_major(x)
    inputs = feature_major(x)
    return evaluate("multilinear", inputs, x, wiring, table), inputs


def multilinear_gradients(
    inputs: Tensor, wiring: Tensor, table: Tensor, grad: Tensor, features: int, needs_x: bool, needs_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""
    x_grad = table_grad = None
    rows, m = feature_major(grad), table.shape[1]
    if inputs.dtype == torch.int64:
        x_grad = lookup_input_gradient(inputs, wiring, table, rows.t(), features) if needs_x else None
        table_grad = lookup_table_gradient(inputs, wiring, rows.t(), m) if needs_table else None
        return x_grad, table_grad
    wiring, sizes = wiring.contiguous(), (len(grad), features, *wiring.shape, m)
    if needs_x:
        x_grad = torch.empty_like(inputs)
        call("multilinear_input_gradient", inputs, wiring, table.contiguous(), rows, x_grad, *sizes)
        x_grad = x_grad.t()
    if needs_table:
        table_grad = torch.empty_like(table, memory_format=torch.contiguous_format)
        call("multilinear_table_gradient", inputs, wiring, rows, table_grad, *sizes)
    return x_grad, table_grad
