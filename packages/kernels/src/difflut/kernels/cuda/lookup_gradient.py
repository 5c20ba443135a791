"""The gradients of the hard look-up, of one bank or of two in a chain."""

from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, feature_major, image_of, items_of, padded, scratch
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements


class Upstream(NamedTuple):
    """The gradient of a bank's outputs; where it is that of groups, all outputs of a group have the same."""

    grad: Tensor  # (rows or groups, batch), contiguous
    shape: tuple[int, ...]  # of the bank's table
    placements: Placements  # of the bank
    scale: float = 1.0  # of the gradient

    @property
    def given(self) -> tuple[Tensor, int, float]:
        """The gradient, the outputs of a group, and the scale, as the kernels take them."""
        outputs = self.shape[0] * self.shape[1] * self.placements.count
        return self.grad, outputs // max(1, len(self.grad)), self.scale

    @property
    def batch(self) -> int:
        return self.grad.shape[1]


def input_gradient(codes: Tensor, wiring: Tensor, slope: Tensor, upstream: Upstream) -> Tensor:
    """The gradient of a bank's inputs, (features, batch)."""
    placements, batch = upstream.placements, upstream.batch
    x_grad, wires = upstream.grad.new_empty(placements.features, batch), wires_of(wiring, placements)
    (nodes, n, m), (start, pins) = bank_sizes(wiring, slope), wires.readers()
    given = aligned(slope), *upstream.given, x_grad, batch
    if placements.is_dense:
        launch("lookup_input_gradient", codes, start, pins, *given, placements.features, nodes, n, m)
    elif wires.once and m == 1:
        launch("image_gradient_once", image_of(placements), wires.wiring, codes, *given, nodes, n)
    else:
        launch("image_gradient", image_of(placements), *wires.listeners(), codes, *given, placements.channels, n, m)
    return x_grad


def table_gradient(codes: Tensor, n: int, upstream: Upstream) -> Tensor:
    """The gradient of a bank's tables, (L, m, 2**n)."""
    (nodes, m, _), placements = upstream.shape, upstream.placements
    table_grad, items = upstream.grad.new_empty(upstream.shape), items_of(placements, upstream.batch)
    parts = max(1, min(2048 // max(1, nodes * m), items // 32))
    sums = table_grad, scratch(parts, table_grad), parts
    launch("lookup_table_gradient", codes, image_of(placements), *upstream.given, *sums, upstream.batch, nodes, n, m)
    return table_grad


def pin_gradient(codes: Tensor, slope: Tensor, upstream: Upstream, split: bool = False) -> Tensor:
    """The gradient of every pin, (L * n * P, padded batch), or as pairs of bfloat16, (L * n * P, 2 * padded batch)."""
    (nodes, m, entries), placements = upstream.shape, upstream.placements
    n, width = entries.bit_length() - 1, padded(upstream.batch)
    rows, columns = nodes * n * placements.count, 2 * width if split else width
    out = slope.new_empty(rows, columns, dtype=torch.bfloat16 if split else None)
    sizes = upstream.batch, nodes, n, m
    launch("lookup_pin_gradient", codes, image_of(placements), aligned(slope), *upstream.given, int(split), out, *sizes)
    return out


def chained_gradient(
    codes: Tensor,
    wiring: Tensor,
    shape: tuple[int, ...],
    placements: Placements,
    next_codes: Tensor,
    next_wiring: Tensor,
    next_slope: Tensor,
    upstream: Upstream,
    needs_table: bool,
    keep: bool,
) -> tuple[Tensor | None, Upstream | None]:
    """The gradient of a bank's tables from that of the next bank's outputs.

    With `keep`, also the gradient of what the first gives the second; without, that may be None.
    """
    (nodes, m, _), n, batch = shape, wiring.shape[1], upstream.batch
    fused = placements.is_dense and upstream.placements.is_dense and next_wiring.shape[1] == n
    if not (fused and needs_table):
        between = Upstream(input_gradient(next_codes, next_wiring, next_slope, upstream), shape, placements)
        return table_gradient(codes, n, between) if needs_table else None, between
    table_grad = upstream.grad.new_empty(shape)
    kept = Upstream(upstream.grad.new_empty(nodes * m, batch), shape, placements) if keep else None
    arguments = codes, table_grad, None if kept is None else kept.grad, batch, nodes, n, m
    readers = wires_of(next_wiring, upstream.placements).readers()
    after: tuple[Tensor | float | None, ...] = (
        next_codes,
        *readers,
        aligned(next_slope),
        *upstream.given,
        *upstream.shape[:2],
    )
    launch("lookup_chained_gradient", *arguments, *after)
    return table_grad, kept


def lookup_input_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_input_gradient`."""
    return input_gradient(kept.data, wiring, slope, Upstream(feature_major(grad), slope.shape, placements)).t()


def lookup_pin_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_pin_gradient`."""
    upstream = Upstream(feature_major(grad), slope.shape, placements)
    return pin_gradient(kept.data, slope, upstream)[:, : kept.batch].t()


def lookup_table_gradient(kept: Kept, wiring: Tensor, grad: Tensor, outputs: int, placements: Placements) -> Tensor:
    """See `Backend.lookup_table_gradient`."""
    nodes, n = wiring.shape
    return table_gradient(kept.data, n, Upstream(feature_major(grad), (nodes, outputs, 2**n), placements))


def spread(sums: Tensor, features: int) -> Tensor:
    """Copies each of `sums` (batch, groups) to all features of its group: (batch, features)."""
    batch, groups = sums.shape
    out = sums.new_empty(features, batch)
    if out.numel():
        launch("spread", feature_major(sums), features // groups, out, batch, features)
    return out.t()
