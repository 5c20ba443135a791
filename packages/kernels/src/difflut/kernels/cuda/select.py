"""Learnable wiring: among all inputs by torch's products of matrices, among few candidates by kernels."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.bits import Bits
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import feature_major
from difflut.kernels.cuda.wires import Wires, wires_of


def select(x: Tensor | Bits, logits: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What every pin reads, (batch, P); x itself, packed where it came so; and the inputs read, (P,)."""
    if not isinstance(x, Bits):
        return reference.select(x, logits, candidates)
    y, _, chosen = reference.select(x.float(), logits, candidates)
    return y, x.words, chosen


def best_candidates(logits: Tensor, among: Wires) -> Tensor:
    """The candidate with the first of the largest logits of each pin, (pins,) int32."""
    return among.wiring.gather(1, logits.argmax(1, keepdim=True))[:, 0]


def select_logits_gradient(x: Tensor, candidates: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient of the logits, (features, P) or (P, K)."""
    batch, is_packed = len(grad), x.dtype == torch.int32
    if candidates is None or grad.numel() == 0:
        return reference.select_logits_gradient(Bits(x, batch).float() if is_packed else x, candidates, grad)
    if is_packed:
        return candidates_gradient(x, wires_of(candidates, len(x)), feature_major(grad), batch)
    logits_grad, (pins, choices) = grad.new_empty(candidates.shape), candidates.shape
    among = wires_of(candidates, x.shape[1]).wiring
    launch("candidates_gradient", feature_major(x), among, choices, feature_major(grad), batch, pins, logits_grad)
    return logits_grad


def candidates_gradient(bits: Tensor, among: Wires, grad: Tensor, batch: int) -> Tensor:
    """The gradient of the logits, (P, K), from packed x and the gradient of the pins (P, batch or more)."""
    logits_grad, (pins, choices) = grad.new_empty(among.wiring.shape), among.wiring.shape
    sizes = grad.shape[1], batch, pins
    launch("candidates_gradient_of_bits", bits, among.wiring, choices, grad, *sizes, logits_grad)
    return logits_grad


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, chosen: Tensor, tau: float, grad: Tensor, features: int
) -> Tensor:
    """The gradient of x, (batch, features)."""
    if candidates is None or grad.numel() == 0:
        return reference.select_x_gradient(logits, candidates, chosen, tau, grad, features)
    return candidates_input_gradient(logits, wires_of(candidates, features), tau, feature_major(grad), len(grad))


def candidates_input_gradient(logits: Tensor, among: Wires, tau: float, grad: Tensor, batch: int) -> Tensor:
    """The gradient of x, (batch, features), from that of the pins (P, batch or more)."""
    x_grad, share = grad.new_empty(among.features, batch), torch.softmax(logits / tau, 1)
    place = share, logits.shape[1], grad, grad.shape[1], batch, among.features, x_grad
    launch("candidates_input_gradient", *among.readers(), *place)
    return x_grad.t()
