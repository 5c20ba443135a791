"""The hard look-up and its gradients."""

from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cpp.banks import evaluate
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, packed, sizes
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.placements import Placements


def lookup(x: Tensor, wiring: Tensor, table: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.lookup`; x is kept as bits."""
    bits = packed(x, placements)
    return evaluate("lookup", bits.data, len(x), wiring, table, placements), bits


def lookup_input_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_input_gradient`."""
    return input_gradient(kept.data, wiring, slope, feature_major(grad), placements).t()


def input_gradient(
    bits: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements, group: int = 1
) -> Tensor:
    """The gradient of a bank's inputs (features, batch); `group` neighbouring outputs share a row of `grad`."""
    x_grad = recycled(placements.features, grad.shape[1])
    arguments = bits, wiring.contiguous(), slope.contiguous(), grad, group, x_grad
    call("lookup_input_gradient", *arguments, sizes(placements), grad.shape[1], *wiring.shape, slope.shape[1])
    return x_grad


def lookup_pin_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_pin_gradient`."""
    pin_grad = recycled(wiring.numel() * placements.count, kept.batch)
    arguments = kept.data, wiring.contiguous(), slope.contiguous(), feature_major(grad)
    call("lookup_pin_gradient", *arguments, pin_grad, sizes(placements), kept.batch, *wiring.shape, slope.shape[1])
    return pin_grad.t()


def lookup_table_gradient(kept: Kept, wiring: Tensor, grad: Tensor, outputs: int, placements: Placements) -> Tensor:
    """See `Backend.lookup_table_gradient`."""
    return table_gradient(kept.data, wiring, feature_major(grad), outputs, placements)


def table_gradient(
    bits: Tensor, wiring: Tensor, grad: Tensor, outputs: int, placements: Placements, group: int = 1
) -> Tensor:
    """The gradient of a bank's tables (L, m, 2**n); `group` neighbouring outputs share a row of `grad`."""
    nodes, n = wiring.shape
    table_grad = recycled(nodes * outputs, 2**n).view(nodes, outputs, 2**n)
    arguments = bits, wiring.contiguous(), grad, group, table_grad
    call("lookup_table_gradient", *arguments, sizes(placements), grad.shape[1], nodes, n, outputs)
    return table_grad
