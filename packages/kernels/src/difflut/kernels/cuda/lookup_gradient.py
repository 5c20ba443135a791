"""The gradients of the hard look-up, of one bank or of two in a chain."""

from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, feature_major, padded
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements


class Upstream(NamedTuple):
    """The gradient of a bank's outputs; where it is a group's, each output of the group has the same."""

    grad: Tensor  # (rows or groups, batch), contiguous
    shape: tuple[int, int, int]  # of the bank's table
    scale: float = 1.0  # of the gradient

    @property
    def given(self) -> tuple[Tensor, int, float]:
        """The gradient, the outputs of a group, and the scale, as the kernels take them."""
        return self.grad, self.shape[0] * self.shape[1] // max(1, len(self.grad)), self.scale

    @property
    def batch(self) -> int:
        return self.grad.shape[1]


def input_gradient(codes: Tensor, wiring: Tensor, slope: Tensor, upstream: Upstream, features: int) -> Tensor:
    """The gradient of a bank's inputs, (features, batch)."""
    x_grad = upstream.grad.new_empty(features, upstream.batch)
    readers, sizes = wires_of(wiring, features).readers(), (upstream.batch, features, *bank_sizes(wiring, slope))
    launch("lookup_input_gradient", codes, *readers, aligned(slope), *upstream.given, x_grad, *sizes)
    return x_grad


def table_gradient(codes: Tensor, n: int, upstream: Upstream) -> Tensor:
    """The gradient of a bank's tables, (L, m, 2**n)."""
    nodes, m, _ = upstream.shape
    table_grad = upstream.grad.new_empty(upstream.shape)
    launch("lookup_table_gradient", codes, *upstream.given, table_grad, upstream.batch, nodes, n, m)
    return table_grad


def pin_gradient(codes: Tensor, slope: Tensor, upstream: Upstream, split: bool = False) -> Tensor:
    """The gradient of every pin, (L * n, padded batch), or as pairs of bfloat16, (L * n, 2 * padded batch)."""
    nodes, m, entries = upstream.shape
    n, width = entries.bit_length() - 1, padded(upstream.batch)
    out = slope.new_empty(nodes * n, 2 * width if split else width, dtype=torch.bfloat16 if split else None)
    sizes = upstream.batch, nodes, n, m
    launch("lookup_pin_gradient", codes, aligned(slope), *upstream.given, int(split), out, *sizes)
    return out


def chained_gradient(
    codes: Tensor,
    wiring: Tensor,
    shape: tuple[int, int, int],
    next_codes: Tensor,
    next_wiring: Tensor,
    next_slope: Tensor,
    upstream: Upstream,
    keep: bool,
) -> tuple[Tensor, Upstream | None]:
    """The table gradient of a bank from that of the next one's outputs, and the one between the two if `keep`."""
    (nodes, m, _), n, batch = shape, wiring.shape[1], upstream.batch
    if next_wiring.shape[1] != n:
        between = Upstream(input_gradient(next_codes, next_wiring, next_slope, upstream, nodes * m), shape)
        return table_gradient(codes, n, between), between
    table_grad = upstream.grad.new_empty(shape)
    between = Upstream(upstream.grad.new_empty(nodes * m, batch), shape) if keep else None
    own = codes, table_grad, between and between.grad, batch, nodes, n, m
    readers = wires_of(next_wiring, nodes * m).readers()
    after = next_codes, *readers, aligned(next_slope), *upstream.given, *upstream.shape[:2]
    launch("lookup_chained_gradient", *own, *after)
    return table_grad, between


def lookup_input_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_input_gradient`."""
    if not placements.is_dense:
        return reference.lookup_input_gradient(kept, wiring, slope, grad, placements)
    upstream = Upstream(feature_major(grad), slope.shape)
    return input_gradient(kept.data, wiring, slope, upstream, placements.features).t()


def lookup_pin_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_pin_gradient`."""
    if not placements.is_dense:
        return reference.lookup_pin_gradient(kept, wiring, slope, grad, placements)
    return pin_gradient(kept.data, slope, Upstream(feature_major(grad), slope.shape))[:, : kept.batch].t()


def lookup_table_gradient(kept: Kept, wiring: Tensor, grad: Tensor, outputs: int, placements: Placements) -> Tensor:
    """See `Backend.lookup_table_gradient`."""
    if not placements.is_dense:
        return reference.lookup_table_gradient(kept, wiring, grad, outputs, placements)
    nodes, n = wiring.shape
    return table_gradient(kept.data, n, Upstream(feature_major(grad), (nodes, outputs, 2**n)))


def spread(sums: Tensor, features: int) -> Tensor:
    """Copies each of `sums` (batch, groups) to all features of its group: (batch, features)."""
    batch, groups = sums.shape
    out = sums.new_empty(features, batch)
    if out.numel():
        launch("spread", feature_major(sums), features // groups, out, batch, features)
    return out.t()
