"""Learnable wiring: each pin of a layer reads the input whose logit is the largest."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def select(x: Tensor, logits: Tensor, candidates: Tensor | None = None, *, tau: float = 0.001) -> Tensor:
    """Lets every pin read its best input, with the straight-through gradients of DWN.

    `y[b, p] = x[b, argmax_i logits[i, p]]`; `dlogits = (2x - 1)^T g`; `dx = g softmax(logits / tau)^T`
    (https://arxiv.org/abs/2410.11112, section 3.2).

    Args:
        x: (batch, features)
        logits: A logit for each input and pin, (features, P); with candidates a logit for each of them, (P, K)
        candidates: The inputs among which each pin chooses. (P, K), int64
        tau: Temperature of the softmax that spreads the gradient of x.

    Returns:
        (batch, P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    if x.ndim != 2 or logits.ndim != 2:
        raise ValueError(f"x and logits need two axes, got the shapes {tuple(x.shape)} and {tuple(logits.shape)}")
    if x.dtype != logits.dtype:
        raise ValueError(f"x and logits need one dtype, got {x.dtype} and {logits.dtype}: convert x with x.to()")
    if tau <= 0:
        raise ValueError(f"tau must be positive, got {tau}")
    if candidates is None:
        if logits.shape[0] != x.shape[1]:
            raise ValueError(f"logits choose among {logits.shape[0]} inputs, but x has {x.shape[1]} features")
        return _Dense.apply(x, logits, tau)
    if candidates.shape != logits.shape or candidates.dtype != torch.int64:
        raise ValueError(
            f"candidates need the shape of logits, {tuple(logits.shape)}, and int64, "
            f"got {tuple(candidates.shape)} of {candidates.dtype}"
        )
    return _Sparse.apply(x, logits, candidates, tau)


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard`, bit for bit, with the gradient of `soft`."""
    if hard.shape != soft.shape:
        raise ValueError(f"hard and soft need one shape, got {tuple(hard.shape)} and {tuple(soft.shape)}")
    return _StraightThrough.apply(hard, soft)


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor, tau: float) -> Tensor:
        ctx.tau = tau
        ctx.save_for_backward(x, logits if ctx.needs_input_grad[0] else None)
        return x.t()[logits.argmax(0)].t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, logits = ctx.saved_tensors
        x_grad = logits_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (torch.softmax(logits / ctx.tau, 0) @ grad.t()).t()
        if ctx.needs_input_grad[1]:
            logits_grad = (2 * x - 1).t() @ grad
        return x_grad, logits_grad, None


class _Sparse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor, candidates: Tensor, tau: float) -> Tensor:
        ctx.tau = tau
        ctx.save_for_backward(x, logits, candidates)
        chosen = candidates.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        return x.t()[chosen].t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, logits, candidates = ctx.saved_tensors
        x_grad = logits_grad = None
        pins_first = grad.t().contiguous()
        # One candidate of all pins at a time: (P, batch) is in memory, never (P, K, batch).
        if ctx.needs_input_grad[0]:
            share = torch.softmax(logits / ctx.tau, 1)
            x_grad = x.new_zeros(x.shape[1], x.shape[0])
            for k in range(candidates.shape[1]):
                x_grad.index_add_(0, candidates[:, k], pins_first * share[:, k : k + 1])
            x_grad = x_grad.t()
        if ctx.needs_input_grad[1]:
            signs = (2 * x - 1).t().contiguous()
            columns = [(signs[column] * pins_first).sum(1) for column in candidates.unbind(1)]
            logits_grad = torch.stack(columns, 1)
        return x_grad, logits_grad, None, None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad
