"""Learnable selection and its gradients."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.bits import holds_bits
from difflut.kernels.contract import Kept, Selected
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, is_binary, packed, values
from difflut.kernels.cpp.lookup import lookup_pin_gradient
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.facts import known
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input

FACTORED_BATCH = 128  # up to here the gradient of dense selection can be formed where it is used


def choose(x: Tensor, logits: Tensor, candidates: Tensor | None, placements: Placements) -> Selected:
    """See `Backend.choose`; x is kept as bits where it is 0 and 1 only."""
    if not placements.is_dense:
        return reference.choose(x, logits, candidates, placements)
    inputs = packed(x) if holds_bits(x) or is_binary(x) else values(x)
    if candidates is not None:
        return Selected(inputs, _best_candidates(logits, candidates, placements))
    pins = known(logits, "best_inputs")
    return Selected(inputs, best_inputs(logits) if pins is None else pins)


def read(selected: Selected, placements: Placements) -> Tensor:
    """See `Backend.read`."""
    if not placements.is_dense:
        return reference.read(selected, placements)
    inputs, pins = selected
    if inputs.form == "values":
        return inputs.data[pins].t()
    y = torch.empty(len(pins), inputs.batch)
    call("select_read", inputs.data, pins, inputs.batch, len(pins), y)
    return y.t()


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each column, (pins,)."""
    window, pins = logits.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    call("select_inputs", logits.contiguous(), window, pins, chosen)
    return chosen


def _best_candidates(logits: Tensor, candidates: Tensor, placements: Placements) -> Tensor:
    pins, choices = candidates.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    given = logits.contiguous(), candidates.contiguous(), choices, placements.window, pins, chosen
    if call("select_candidates", *given):
        raise unknown_input(candidates, placements)
    return chosen


def select_logits_gradient(inputs: Kept, candidates: Tensor | None, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.select_logits_gradient`."""
    if not placements.is_dense:
        return reference.select_logits_gradient(inputs, candidates, grad, placements)
    if candidates is None:
        return dense_logits_gradient(inputs, feature_major(grad))
    logits_grad = grad.new_empty(candidates.shape)
    both = (inputs.data, None) if inputs.form == "bits" else (None, inputs.data)
    place = candidates.contiguous(), candidates.shape[1], feature_major(grad), *grad.shape, logits_grad
    call("select_candidates_gradient", *both, *place)
    return logits_grad


def dense_logits_gradient(inputs: Kept, grad: Tensor) -> Tensor:
    """The gradient of the logits of all inputs, (features, pins), from that of the pins, (pins, batch)."""
    features, (pins, batch) = len(inputs.data), grad.shape
    logits_grad = recycled(features, pins)
    if inputs.form == "values":
        return torch.mm(2 * inputs.data - 1, grad.t(), out=logits_grad)
    call("select_inputs_gradient", inputs.data, grad, batch, features, pins, logits_grad)
    return logits_grad


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, selected: Selected, tau: float, grad: Tensor, placements: Placements
) -> Tensor:
    """See `Backend.select_x_gradient`; shares too small to count are left out."""
    if not placements.is_dense:
        return reference.select_x_gradient(logits, candidates, selected, tau, grad, placements)
    batch, pins = grad.shape
    x_grad = grad.new_empty(placements.features, batch)
    among = (None, 0) if candidates is None else (candidates.contiguous(), candidates.shape[1])
    place = selected.pins, tau, feature_major(grad), batch, placements.features, pins, x_grad
    call("select_x_gradient", logits.contiguous(), *among, *place)
    return x_grad.t()


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
    """See `Backend.learned_gradients`."""
    x_grad = logits_grad = None
    pin_grad = lookup_pin_gradient(kept, selected.pins.view(len(slope), -1), slope, grad, placements)
    if needs_x:
        x_grad = select_x_gradient(logits, candidates, selected, tau, pin_grad, placements)
    if needs_logits:
        logits_grad = select_logits_gradient(selected.inputs, candidates, pin_grad, placements)
    return x_grad, logits_grad
