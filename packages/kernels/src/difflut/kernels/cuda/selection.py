"""Learnable wiring: among all inputs by torch's products of matrices, among few candidates or windows by kernels."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.contract import Kept, Selected
from difflut.kernels.cuda.choices import LONE_PINS, listeners_of, logits_gradient, shares_of
from difflut.kernels.cuda.extension import extension_image_gradient, multilinear
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, feature_major, image_of, pack
from difflut.kernels.cuda.lookup_gradient import lookup_pin_gradient
from difflut.kernels.cuda.lookups import lookup
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements


def select(x: Tensor | Bits, logits: Tensor, candidates: Tensor | None, placements: Placements) -> Selected:
    """See `Backend.select`; x is kept packed where it is known to be bits."""
    inputs = Kept(pack(x), len(x), "bits") if isinstance(x, Bits) or holds_bits(x) else Kept(x, len(x), "values")
    if candidates is None:
        return Selected(inputs, logits.argmax(0).to(torch.int32))
    pins = torch.empty(len(logits), dtype=torch.int32, device=logits.device)
    among = wires_of(candidates, placements).wiring
    launch("best_candidates", logits.contiguous(), among, *reversed(logits.shape), pins)
    return Selected(inputs, pins)


def read(selected: Selected, placements: Placements) -> Tensor:
    """See `Backend.read`."""
    inputs, pins = selected
    if placements.is_dense:
        return Bits(inputs.data[pins], inputs.batch).float() if inputs.form == "bits" else inputs.data.t()[pins].t()
    wiring, itself = pins[:, None], torch.arange(2.0, device=pins.device).expand(len(pins), 1, 2)
    if inputs.form == "bits":
        return lookup(Bits(inputs.data, inputs.batch), wiring, itself, placements)[0]
    return multilinear(inputs.data, wiring, itself, False, placements)[0]


def select_logits_gradient(inputs: Kept, candidates: Tensor | None, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.select_logits_gradient`."""
    (batch, outputs), is_packed = grad.shape, inputs.form == "bits"
    pins = outputs // placements.count
    if grad.numel() and not placements.is_dense:
        x = (inputs.data, None) if is_packed else (None, feature_major(inputs.data))
        given = feature_major(grad), batch, pins
        return logits_gradient("logits_gradient", x, candidates, LONE_PINS, pins, given, batch, placements)
    if candidates is None or grad.numel() == 0:
        values = Bits(inputs.data, batch).float() if is_packed else inputs.data
        return reference.select_logits_gradient(Kept(values, batch, "values"), candidates, grad, placements)
    logits_grad, choices = grad.new_empty(candidates.shape), candidates.shape[1]
    among = wires_of(candidates, placements).wiring
    function = "candidates_gradient_of_bits" if is_packed else "candidates_gradient"
    rows = inputs.data if is_packed else feature_major(inputs.data)
    launch(function, rows, among, choices, feature_major(grad), batch, pins, logits_grad)
    return logits_grad


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, selected: Selected, tau: float, grad: Tensor, placements: Placements
) -> Tensor:
    """See `Backend.select_x_gradient`; shares that are lost in rounding are left out at many placements."""
    if grad.numel() == 0 or (candidates is None and placements.is_dense):
        return reference.select_x_gradient(logits, candidates, selected, tau, grad, placements)
    x_grad, batch = grad.new_empty(placements.features, len(grad)), len(grad)
    given: tuple[Tensor | float | None, ...]
    if placements.is_dense and candidates is not None:
        given = shares_of(logits, tau), candidates.shape[1], feature_major(grad)
        readers = wires_of(candidates, placements).readers()
        launch("candidates_input_gradient", *readers, *given, batch, placements.features, x_grad)
    else:
        given = image_of(placements), *listeners_of(logits, candidates, tau, placements), feature_major(grad)
        launch("image_gradient_of_pins", *given, x_grad, batch, placements.channels)
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
    """See `Backend.learned_gradients`; at many placements that of the logits has 16 bits of precision."""
    x_grad = logits_grad = None
    (nodes, m, entries), (batch, _), inputs = slope.shape, grad.shape, selected.inputs
    n, extended = entries.bit_length() - 1, kept.form == "values"
    wiring = selected.pins.view(nodes, n)
    if not extended and (placements.is_dense or grad.numel() == 0 or inputs.form != "bits"):
        pin_grad = lookup_pin_gradient(kept, wiring, slope, grad, placements)
        if needs_x:
            assert logits is not None
            x_grad = select_x_gradient(logits, candidates, selected, tau, pin_grad, placements)
        if needs_logits:
            logits_grad = select_logits_gradient(inputs, candidates, pin_grad, placements)
        return x_grad, logits_grad
    slope, grad = aligned(slope), feature_major(grad)
    if needs_x:
        assert logits is not None
        x_grad = grad.new_empty(placements.features, batch)
        listeners = listeners_of(logits, candidates, tau, placements)
        if extended:
            extension_image_gradient(kept.data, wiring, listeners, slope, grad, placements, x_grad)
        else:
            given = image_of(placements), *listeners, kept.data, slope, grad
            launch("image_gradient", *given, 1, 1.0, x_grad, batch, placements.channels, n, m)
        x_grad = x_grad.t()
    if needs_logits:
        function, found = ("extension_logits_gradient", wiring) if extended else ("learned_gradient", kept.data)
        parts = found, slope, grad, batch, nodes, n, m
        logits_grad = logits_gradient(function, [inputs.data], candidates, n, nodes * n, parts, batch, placements)
    return x_grad, logits_grad
