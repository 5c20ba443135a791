"""Learnable selection and its gradients."""

from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels.contract import Kept, Selected
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, is_binary, packed, sizes, values
from difflut.kernels.cpp.lookups import lookup_pin_gradient
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.facts import known
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input

FACTORED_BATCH = 128  # samples up to which the gradient of dense selection can be formed where it is used


def select(x: Tensor, logits: Tensor, candidates: Tensor | None, placements: Placements) -> Selected:
    """See `Backend.select`; x is kept as bits where it is 0 and 1 only."""
    inputs = packed(x, placements) if is_binary(x) else values(x, placements)
    return Selected(inputs, chosen(logits, candidates, placements))


def chosen(logits: Tensor, candidates: Tensor | None, placements: Placements) -> Tensor:
    """The position in the window that each pin reads, (pins,)."""
    if candidates is not None:
        return _best_candidates(logits, candidates, placements)
    pins: Tensor | None = known(logits, "best_inputs")
    return best_inputs(logits) if pins is None else pins


def read(selected: Selected, placements: Placements) -> Tensor:
    """See `Backend.read`."""
    inputs, pins = selected
    if inputs.form == "values":
        return inputs.data[_rows(pins, placements)].t()
    y = torch.empty(len(pins) * placements.count, inputs.batch)
    call("select_read", inputs.data, pins, sizes(placements), inputs.batch, len(pins), y)
    return y.t()


def _rows(pins: Tensor, placements: Placements) -> Tensor:
    """The padded rows that pins read at every placement, (pins * P,)."""
    if placements.is_dense:
        return pins
    (kernel_height, kernel_width), (padding_y, padding_x) = placements.kernel, placements.padding
    image = Placements(
        placements.channels,
        placements.height + 2 * padding_y,
        placements.width + 2 * padding_x,
        (kernel_height, kernel_width),
        placements.stride,
    )
    return image.rows(pins).flatten()


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each column, (pins,)."""
    window, pins = logits.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    call("select_inputs", logits.contiguous(), window, pins, chosen)
    return chosen


def _best_candidates(logits: Tensor, candidates: Tensor, placements: Placements) -> Tensor:
    pins, choices = candidates.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    arguments = logits.contiguous(), candidates.contiguous(), choices, placements.window, pins, chosen
    if call("select_candidates", *arguments):
        raise unknown_input(candidates, placements)
    return chosen


def select_logits_gradient(inputs: Kept, candidates: Tensor | None, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.select_logits_gradient`."""
    return _logits_gradient(inputs, candidates, _given(grad, placements), placements)


def dense_logits_gradient(inputs: Kept, grad: Tensor) -> Tensor:
    """The gradient of the logits of all inputs, (features, pins), from that of the pins, (pins, batch)."""
    placements = Placements(len(inputs.data))
    return _logits_gradient(inputs, None, _given(grad.t(), placements), placements)


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, selected: Selected, tau: float, grad: Tensor, placements: Placements
) -> Tensor:
    """See `Backend.select_x_gradient`; shares too small to count are left out."""
    return _x_gradient(logits, candidates, selected.pins, tau, _given(grad, placements), placements)


def learned_gradients(
    logits: Tensor | None,
    candidates: Tensor | None,
    selected: Selected,
    tau: float,
    kept: Kept,
    slope: Tensor,
    grad: Tensor,
    placements: Placements,
    needs_x: bool,
    needs_logits: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """See `Backend.learned_gradients`; what pins pass back is found where it is used."""
    x_grad = logits_grad = None
    nodes, m, entries = slope.shape
    n = entries.bit_length() - 1
    bits, x = (kept.data, None) if kept.form == "bits" else (None, kept.data)
    upstream = _Upstream(feature_major(grad), slope.contiguous(), bits, x, selected.pins, nodes * n, n, m)
    if needs_x:
        assert logits is not None
        x_grad = _x_gradient(logits, candidates, selected.pins, tau, upstream, placements)
    if needs_logits:
        if candidates is None and selected.inputs.form == "values" and placements.is_dense:
            pins = lookup_pin_gradient(kept, selected.pins.view(nodes, n), slope, grad, placements)
            upstream = _given(pins, placements)
        logits_grad = _logits_gradient(selected.inputs, candidates, upstream, placements)
    return x_grad, logits_grad


class _Upstream(NamedTuple):
    """Where kernels take the gradients of pins from: see `Upstream` in `pin_gradients.h`."""

    grad: Tensor  # of the pins, or of the outputs of the bank that reads them; (rows, batch), contiguous
    table: Tensor | None
    bits: Tensor | None
    x: Tensor | None
    wiring: Tensor | None
    pins: int
    n: int = 1
    m: int = 1

    def arguments(self, placements: Placements) -> tuple[Tensor | int | None, ...]:
        return *self[:5], sizes(placements), self.grad.shape[1], *self[5:]


def _given(grad: Tensor, placements: Placements) -> _Upstream:
    return _Upstream(feature_major(grad), None, None, None, None, grad.shape[1] // placements.count)


def _logits_gradient(inputs: Kept, candidates: Tensor | None, upstream: _Upstream, placements: Placements) -> Tensor:
    if candidates is None:
        return _window_gradient(inputs, upstream, placements)
    logits_grad = upstream.grad.new_empty(candidates.shape)
    both = (inputs.data, None) if inputs.form == "bits" else (None, inputs.data)
    arguments = candidates.contiguous(), candidates.shape[1], *upstream.arguments(placements), logits_grad
    call("select_candidates_gradient", *both, *arguments)
    return logits_grad


def _window_gradient(inputs: Kept, upstream: _Upstream, placements: Placements) -> Tensor:
    if inputs.form == "values" and not placements.is_dense:
        everything = torch.arange(placements.window).expand(upstream.pins, -1)
        return _logits_gradient(inputs, everything, upstream, placements).t().contiguous()
    logits_grad = recycled(placements.window, upstream.pins)
    if inputs.form == "values":
        return torch.mm(2 * inputs.data - 1, upstream.grad.t(), out=logits_grad)
    call("select_inputs_gradient", inputs.data, *upstream.arguments(placements), logits_grad)
    return logits_grad


def _x_gradient(
    logits: Tensor,
    candidates: Tensor | None,
    pins: Tensor,
    tau: float,
    upstream: _Upstream,
    placements: Placements,
) -> Tensor:
    x_grad = upstream.grad.new_empty(placements.features, upstream.grad.shape[1])
    among = (None, 0) if candidates is None else (candidates.contiguous(), candidates.shape[1])
    arguments = pins, tau, *upstream.arguments(placements), x_grad
    call("select_x_gradient", logits.contiguous(), *among, *arguments)
    return x_grad.t()
