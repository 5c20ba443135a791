"""Learnable wiring: each pin of a layer reads the input whose logit is the largest."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cpp
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.factors import Factors, accepts_factors


def select(
    x: Tensor | Bits, logits: Tensor, candidates: Tensor | None = None, *, tau: float = 0.001, use_cuda: bool = True
) -> Tensor:
    """Lets every pin read its best input, with the straight-through gradients of DWN.

    `y[b, p] = x[b, argmax_i logits[i, p]]`; `dlogits = (2x - 1)^T g`; `dx = g softmax(logits / tau)^T`
    (https://arxiv.org/abs/2410.11112, section 3.2). On a CPU and for bits, `Adam` may take the gradient of logits
    without candidates as two factors.

    Args:
        x: (batch, features)
        logits: A logit for each input and pin, (features, P); with candidates a logit for each of them, (P, K)
        candidates: The inputs among which each pin chooses. (P, K), int64
        tau: Temperature of the softmax that spreads the gradient of x.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other, or x has not all the candidates.
    """
    if x.ndim != 2 or logits.ndim != 2:
        raise ValueError(f"x and logits need two axes, got the shapes {tuple(x.shape)} and {tuple(logits.shape)}")
    if x.dtype != logits.dtype:
        raise ValueError(f"x and logits need one dtype, got {x.dtype} and {logits.dtype}: convert x with x.to()")
    if tau <= 0:
        raise ValueError(f"tau must be positive, got {tau}")
    if logits.shape[0 if candidates is None else 1] == 0:
        raise ValueError(f"a pin needs at least one input to choose from, got logits of shape {tuple(logits.shape)}")
    if candidates is None:
        if logits.shape[0] != x.shape[1]:
            raise ValueError(f"logits choose among {logits.shape[0]} inputs, but x has {x.shape[1]} features")
    elif candidates.shape != logits.shape or candidates.dtype != torch.int64:
        raise ValueError(
            f"candidates need the shape of logits, {tuple(logits.shape)}, and int64, "
            f"got {tuple(candidates.shape)} of {candidates.dtype}"
        )
    backend = backend_for(logits, use_cuda)
    return _Select.apply(accepted(x, backend), logits, candidates, tau, backend)


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each pin: (features, P) to (P,), int64.

    Nothing is remembered between calls: torch's fused optimizers and writes to `logits.data` change logits unnoticed.
    """
    return cpp.best_inputs(logits) if backend_for(logits) is cpp else logits.argmax(0)


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard`, bit for bit, with the gradient of `soft`."""
    if hard.shape != soft.shape:
        raise ValueError(f"hard and soft need one shape, got {tuple(hard.shape)} and {tuple(soft.shape)}")
    return _StraightThrough.apply(hard, soft)


class _Select(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | Bits, logits: Tensor, candidates: Tensor | None, tau: float, backend: ModuleType
    ) -> Tensor:
        y, inputs, chosen = backend.select(x, logits, candidates)
        ctx.backend, ctx.tau, ctx.features, ctx.logits = backend, tau, x.shape[1], logits
        ctx.save_for_backward(inputs, logits if ctx.needs_input_grad[0] else None, candidates, chosen)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, logits, candidates, chosen = ctx.saved_tensors
        x_grad = logits_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = ctx.backend.select_x_gradient(logits, candidates, chosen, ctx.tau, grad, ctx.features)
        if ctx.needs_input_grad[1] and candidates is None and _can_factor(ctx, inputs, grad):
            ctx.logits.factors = Factors(inputs, cpp.feature_major(grad), len(grad))
        elif ctx.needs_input_grad[1]:
            logits_grad = ctx.backend.select_logits_gradient(inputs, candidates, grad)
        return x_grad, logits_grad, None, None, None


def _can_factor(ctx: Any, inputs: Tensor, grad: Tensor) -> bool:
    is_bits = ctx.backend is cpp and inputs.dtype == torch.int64
    return is_bits and len(grad) <= cpp.FACTORED_BATCH and accepts_factors(ctx.logits)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad
