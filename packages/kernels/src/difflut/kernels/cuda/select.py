"""Learnable wiring: among all inputs by torch's products of matrices, among few candidates by kernels."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.contract import Kept, Selected
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import feature_major, pack
from difflut.kernels.cuda.lookup_gradient import lookup_pin_gradient
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements


def choose(x: Tensor | Bits, logits: Tensor, candidates: Tensor | None, placements: Placements) -> Selected:
    """See `Backend.choose`; x is kept packed where it is known to be bits."""
    if not placements.is_dense:
        return reference.choose(x.float() if isinstance(x, Bits) else x, logits, candidates, placements)
    inputs = Kept(pack(x), len(x), "bits") if holds_bits(x) else Kept(x, len(x), "values")
    if candidates is None:
        return Selected(inputs, logits.argmax(0).to(torch.int32))
    among = wires_of(candidates, x.shape[1]).wiring
    return Selected(inputs, among.gather(1, logits.argmax(1, keepdim=True))[:, 0])


def read(selected: Selected, placements: Placements) -> Tensor:
    """See `Backend.read`."""
    inputs, pins = selected
    if placements.is_dense and inputs.form == "bits":
        return Bits(inputs.data[pins], inputs.batch).float()
    return reference.read(selected, placements)


def select_logits_gradient(inputs: Kept, candidates: Tensor | None, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.select_logits_gradient`."""
    is_packed = inputs.form == "bits"
    if candidates is None or grad.numel() == 0 or not placements.is_dense:
        x = Bits(inputs.data, inputs.batch).float() if is_packed else inputs.data
        return reference.select_logits_gradient(Kept(x, inputs.batch, "values"), candidates, grad, placements)
    logits_grad, (pins, choices), grad = grad.new_empty(candidates.shape), candidates.shape, feature_major(grad)
    among = wires_of(candidates, placements.features).wiring
    function = "candidates_gradient_of_bits" if is_packed else "candidates_gradient"
    x = inputs.data if is_packed else feature_major(inputs.data)
    launch(function, x, among, choices, grad, inputs.batch, pins, logits_grad)
    return logits_grad


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, selected: Selected, tau: float, grad: Tensor, placements: Placements
) -> Tensor:
    """See `Backend.select_x_gradient`."""
    if candidates is None or grad.numel() == 0 or not placements.is_dense:
        return reference.select_x_gradient(logits, candidates, selected, tau, grad, placements)
    (batch, _), features, choices = grad.shape, placements.features, candidates.shape[1]
    x_grad, share = grad.new_empty(features, batch), torch.softmax(logits / tau, 1)
    place = share, choices, feature_major(grad), batch, features, x_grad
    launch("candidates_input_gradient", *wires_of(candidates, features).readers(), *place)
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
