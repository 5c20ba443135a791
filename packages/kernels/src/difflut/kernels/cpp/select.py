"""Learnable selection and its gradients."""

import weakref
from collections.abc import MutableMapping

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from difflut.kernels.bits import holds_bits
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, is_binary, packed
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.validation import unknown_input

FACTORED_BATCH = 128  # up to here the gradient of dense selection can be formed where it is used


def choose(x: Tensor, logits: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor]:
    """x as bits or feature-major, and the input that every pin reads, (P,)."""
    chosen = _known_or_best_inputs(logits) if candidates is None else _best_candidates(logits, candidates, x.shape[1])
    return packed(x) if holds_bits(x) or is_binary(x) else feature_major(x), chosen


def read(inputs: Tensor, chosen: Tensor, batch: int) -> Tensor:
    """What every pin reads of what `choose` returned, (batch, P)."""
    if inputs.dtype != torch.int64:
        return inputs[chosen].t()
    y = torch.empty(len(chosen), batch)
    call("select_read", inputs, chosen, batch, len(chosen), y)
    return y.t()


_known_best: MutableMapping[Tensor, tuple[int, weakref.ref, Tensor]] = WeakTensorKeyDictionary()


def remember_best_inputs(logits: Tensor, chosen: Tensor) -> None:
    """Spares `select` a search, for as long as the logits stay in their memory as they are."""
    _known_best[logits] = logits._version, weakref.ref(logits.untyped_storage()), chosen


def _known_or_best_inputs(logits: Tensor) -> Tensor:
    version, storage, chosen = _known_best.get(logits, (None, None, None))
    if version is not None and version == logits._version and storage() is logits.untyped_storage():
        return chosen
    return best_inputs(logits)


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each column, (P,)."""
    features, pins = logits.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    call("select_inputs", logits.contiguous(), features, pins, chosen)
    return chosen


def _best_candidates(logits: Tensor, candidates: Tensor, features: int) -> Tensor:
    pins, choices = candidates.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    if call("select_candidates", logits.contiguous(), candidates.contiguous(), choices, features, pins, chosen):
        raise unknown_input(candidates, features)
    return chosen


def select_logits_gradient(inputs: Tensor, candidates: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient of the logits, (features, P) or (P, K): `(2x - 1)^T g`."""
    batch, pins = grad.shape
    is_bits = inputs.dtype == torch.int64
    if candidates is not None:
        logits_grad = grad.new_empty(candidates.shape)
        both = (inputs, None) if is_bits else (None, inputs)
        place = candidates.contiguous(), candidates.shape[1], feature_major(grad), batch, pins, logits_grad
        call("select_candidates_gradient", *both, *place)
        return logits_grad
    logits_grad = recycled(len(inputs), pins)
    if is_bits:
        call("select_inputs_gradient", inputs, feature_major(grad), batch, len(inputs), pins, logits_grad)
        return logits_grad
    return torch.mm(2 * inputs - 1, grad, out=logits_grad)


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, chosen: Tensor, tau: float, grad: Tensor, features: int
) -> Tensor:
    """The gradient of x, (batch, features): `g softmax(logits / tau)^T`, without the shares too small to count."""
    batch, pins = grad.shape
    x_grad = grad.new_empty(features, batch)
    among = (None, 0) if candidates is None else (candidates.contiguous(), candidates.shape[1])
    place = chosen, tau, feature_major(grad), batch, features, pins, x_grad
    call("select_x_gradient", logits.contiguous(), *among, *place)
    return x_grad.t()
