"""The hard look-up and its gradients."""

import torch
from torch import Tensor

from difflut.kernels.cpp.banks import evaluate
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, packed
from difflut.kernels.cpp.recycling import recycled


def lookup(x: Tensor, wiring: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The look-up (batch, L * m), and the bits of x packed by 64 samples, (features, ceil(batch / 64)) int64."""
    bits = packed(x)
    return evaluate("lookup", bits, x, wiring, table), bits


def lookup_input_gradient(bits: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor, features: int) -> Tensor:
    """The gradient of x, (batch, features): differences of `slope` (L, m, 2**n) across each address bit."""
    x_grad = grad.new_empty(features, len(grad))
    sizes = len(grad), features, *wiring.shape, slope.shape[1]
    given = bits, wiring.contiguous(), slope.contiguous(), feature_major(grad)
    call("lookup_input_gradient", *given, x_grad, *sizes)
    return x_grad.t()


def lookup_pin_gradient(bits: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor) -> Tensor:
    """The gradient of what each pin reads, (batch, L * n)."""
    pin_grad = recycled(wiring.numel(), len(grad))
    sizes = len(grad), len(bits), *wiring.shape, slope.shape[1]
    call("lookup_pin_gradient", bits, wiring.contiguous(), slope.contiguous(), feature_major(grad), pin_grad, *sizes)
    return pin_grad.t()


def lookup_table_gradient(bits: Tensor, wiring: Tensor, grad: Tensor, outputs: int) -> Tensor:
    """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""
    nodes, n = wiring.shape
    table_grad = grad.new_empty(nodes, outputs, 2**n)
    sizes = len(grad), len(bits), nodes, n, outputs
    call("lookup_table_gradient", bits, wiring.contiguous(), feature_major(grad), table_grad, *sizes)
    return table_grad


def binarize(values: Tensor) -> Tensor:
    """Clamps contiguous values to [-1, 1] in place; returns `values >= 0` as 0. and 1."""
    bits = torch.empty_like(values)
    call("binarize", values, bits, values.numel())
    return bits
