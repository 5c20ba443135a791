"""Learnable wiring: among all inputs by torch's products of matrices, among few candidates by kernels."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import feature_major, pack
from difflut.kernels.cuda.wires import wires_of


def choose(x: Tensor | Bits, logits: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor]:
    """x, packed where it is known to be bits, and the input that every pin reads, (P,)."""
    inputs = pack(x) if holds_bits(x) else x
    if candidates is None:
        return inputs, logits.argmax(0).to(torch.int32)
    among = wires_of(candidates, x.shape[1]).wiring
    return inputs, among.gather(1, logits.argmax(1, keepdim=True))[:, 0]


def read(inputs: Tensor, chosen: Tensor, batch: int) -> Tensor:
    """What every pin reads of what `choose` returned, (batch, P)."""
    if _is_packed(inputs):
        return Bits(inputs[chosen], batch).float()
    return reference.read(inputs, chosen, batch)


def select_logits_gradient(inputs: Tensor, candidates: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient of the logits, (features, P) or (P, K)."""
    batch, is_packed = len(grad), _is_packed(inputs)
    if candidates is None or grad.numel() == 0:
        x = Bits(inputs, batch).float() if is_packed else inputs
        return reference.select_logits_gradient(x, candidates, grad)
    logits_grad, (pins, choices), grad = grad.new_empty(candidates.shape), candidates.shape, feature_major(grad)
    if is_packed:
        among = wires_of(candidates, len(inputs)).wiring
        launch("candidates_gradient_of_bits", inputs, among, choices, grad, batch, pins, logits_grad)
    else:
        among = wires_of(candidates, inputs.shape[1]).wiring
        launch("candidates_gradient", feature_major(inputs), among, choices, grad, batch, pins, logits_grad)
    return logits_grad


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, chosen: Tensor, tau: float, grad: Tensor, features: int
) -> Tensor:
    """The gradient of x, (batch, features)."""
    if candidates is None or grad.numel() == 0:
        return reference.select_x_gradient(logits, candidates, chosen, tau, grad, features)
    (batch, _), choices = grad.shape, candidates.shape[1]
    x_grad, share = grad.new_empty(features, batch), torch.softmax(logits / tau, 1)
    place = share, choices, feature_major(grad), batch, features, x_grad
    launch("candidates_input_gradient", *wires_of(candidates, features).readers(), *place)
    return x_grad.t()


def _is_packed(inputs: Tensor) -> bool:
    return inputs.dtype == torch.int32
