"""The largest input of a node, and its gradient."""

from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import empty_bits, feature_major, is_binary, packed, sizes, values
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input


def maximum(x: Tensor, wiring: Tensor, least: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.maximum`; which inputs are the largest is kept as packed bits, (L * P * n, ceil(batch / 64))."""
    batch, rows = len(x), len(wiring) * placements.count
    y = recycled(rows, batch)
    chosen = empty_bits(rows * wiring.shape[1], batch)
    is_packed = is_binary(x)
    inputs = packed(x, placements).data if is_packed else values(x, placements).data
    both = (inputs, None) if is_packed else (None, inputs)
    extents = sizes(placements), batch, *wiring.shape
    if call("maximum", *both, wiring.contiguous(), int(least), y, chosen, *extents):
        raise unknown_input(wiring, placements)
    return y.t(), Kept(chosen, batch, "addresses")


def maximum_gradient(kept: Kept, wiring: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.maximum_gradient`."""
    x_grad = recycled(placements.features, kept.batch)
    extents = sizes(placements), kept.batch, *wiring.shape
    call("maximum_gradient", kept.data, wiring.contiguous(), feature_major(grad), x_grad, *extents)
    return x_grad.t()


def maximum_of_bits(bits: Tensor, batch: int, wiring: Tensor, least: bool, placements: Placements) -> Tensor:
    """The largest, or where `least` the smallest, of packed bits with their padding: packed bits of L * P rows.

    Raises:
        ValueError: The wiring reads beyond the window.
    """
    y = empty_bits(len(wiring) * placements.count, batch)
    if call("maximum_bits", bits, wiring.contiguous(), int(least), y, sizes(placements), batch, *wiring.shape):
        raise unknown_input(wiring, placements)
    return y


def maximum_of_bits_gradient(bits: Tensor, wiring: Tensor, least: bool, grad: Tensor, placements: Placements) -> Tensor:
    """The gradient of these bits, (features, batch), from that of the result, contiguous (L * P, batch)."""
    x_grad = recycled(placements.features, grad.shape[1])
    extents = sizes(placements), grad.shape[1], *wiring.shape
    call("maximum_bits_gradient", bits, wiring.contiguous(), int(least), grad, x_grad, *extents)
    return x_grad
