"""Learnable wiring: each pin of a layer reads the input whose logit is the largest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cpp
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.contract import Backend, Kept, Selected, save_kept, saved_kept
from difflut.kernels.factors import Factors, left_as_factors
from difflut.kernels.placements import Placements
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import Activations, check_width


@untraced
def select(
    x: Tensor | Bits,
    logits: Tensor,
    candidates: Tensor | None = None,
    placements: Placements | None = None,
    *,
    tau: float = 0.001,
    use_cuda: bool = True,
) -> Tensor:
    """Lets every pin read its best input, with the straight-through gradients of DWN.

    `y[b, p] = x[b, argmax_i logits[i, p]]`; `dlogits = (2x - 1)^T g`; `dx = g softmax(logits / tau)^T`
    (https://arxiv.org/abs/2410.11112, section 3.2). With placements, sums are over these too, and padding is 0. On a
    GPU what is summed over many placements for the logits has 16 bits of precision.

    Args:
        x: (batch, features)
        logits: A logit for each input of the window and each pin, (window, pins); with candidates a logit for each of
            them, (pins, K)
        candidates: The positions in the window among which each pin chooses. (pins, K), int64
        placements: Windows at which the pins stand; where not given, there is one window of all features.
        tau: Temperature of the softmax that spreads the gradient of x.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, pins * P), the placements of a pin side by side, stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other, or a candidate lies outside the window.
    """
    placements = check_choice(x, logits, candidates, placements, tau)
    backend = backend_for(logits, use_cuda)
    return _Select.apply(accepted(x, backend), logits, candidates, placements, tau, backend)


def check_choice(
    x: Activations, logits: Tensor, candidates: Tensor | None, placements: Placements | None, tau: float
) -> Placements:
    """Checks the arguments of a learnable wiring; returns its placements.

    Raises:
        ValueError: They do not fit each other.
    """
    if x.ndim != 2 or logits.ndim != 2:
        raise ValueError(f"x and logits need two axes, got the shapes {tuple(x.shape)} and {tuple(logits.shape)}")
    if x.dtype != logits.dtype:
        raise ValueError(f"x and logits need one dtype, got {x.dtype} and {logits.dtype}: convert x with x.to()")
    if tau <= 0:
        raise ValueError(f"tau must be positive, got {tau}")
    if logits.shape[0 if candidates is None else 1] == 0:
        raise ValueError(f"a pin needs at least one input to choose from, got logits of shape {tuple(logits.shape)}")
    placements = placements or Placements(x.shape[1])
    check_width(x, placements)
    if candidates is None:
        if logits.shape[0] != placements.window:
            raise ValueError(
                f"logits choose among {logits.shape[0]} inputs, "
                f"but {'x has' if placements.is_dense else 'a window has'} {placements.window}"
                f"{' features' if placements.is_dense else ''}"
            )
    elif candidates.shape != logits.shape or candidates.dtype != torch.int64:
        raise ValueError(
            f"candidates need the shape of logits, {tuple(logits.shape)}, and int64, "
            f"got {tuple(candidates.shape)} of {candidates.dtype}"
        )
    return placements


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each pin: (window, pins) to (pins,), int64.

    It is computed anew at each call: torch's fused optimizers and writes to `logits.data` change logits unnoticed.
    """
    return cpp.best_inputs(logits) if backend_for(logits) is cpp else logits.argmax(0)


@untraced
def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard`, bit for bit, with the gradient of `soft`; all three of one shape.

    Raises:
        ValueError: The shapes differ.
    """
    if hard.shape != soft.shape:
        raise ValueError(f"hard and soft need one shape, got {tuple(hard.shape)} and {tuple(soft.shape)}")
    return _StraightThrough.apply(hard, soft)


def leaves_factors(backend: Backend, logits: Tensor, inputs: Kept, make_grad: Callable[[], Tensor]) -> bool:
    """Leaves the gradient of dense selection on a CPU as factors, where its optimizer asked for them."""
    if backend is not cpp or inputs.form != "bits" or inputs.batch > cpp.FACTORED_BATCH:
        return False
    return left_as_factors(logits, lambda: Factors(inputs, cpp.feature_major(make_grad())))


class _Select(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor | Bits,
        logits: Tensor,
        candidates: Tensor | None,
        placements: Placements,
        tau: float,
        backend: Backend,
    ) -> Tensor:
        selected = backend.select(x, logits, candidates, placements)
        ctx.backend, ctx.placements, ctx.tau, ctx.logits = backend, placements, tau, logits
        needed = logits if ctx.needs_input_grad[0] else None
        save_kept(ctx, selected.inputs, selected.pins, needed, candidates)
        return backend.read(selected, placements)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, pins, logits, candidates = saved_kept(ctx)
        backend, placements = ctx.backend, ctx.placements
        x_grad = logits_grad = None
        if ctx.needs_input_grad[0]:
            selected = Selected(inputs, pins)
            x_grad = backend.select_x_gradient(logits, candidates, selected, ctx.tau, grad, placements)
        if ctx.needs_input_grad[1]:
            dense = candidates is None and placements.is_dense
            if not (dense and leaves_factors(backend, ctx.logits, inputs, lambda: grad)):
                logits_grad = backend.select_logits_gradient(inputs, candidates, grad, placements)
        return x_grad, logits_grad, None, None, None, None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad
