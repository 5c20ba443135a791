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
    check_choice(x, logits, candidates, tau)
    backend = backend_for(logits, use_cuda)
    return _Select.apply(accepted(x, backend), logits, candidates, tau, backend)


def check_choice(x: Tensor | Bits, logits: Tensor, candidates: Tensor | None, tau: float) -> None:
    """Checks the arguments of a learnable wiring.

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
    if candidates is None:
        if logits.shape[0] != x.shape[1]:
            raise ValueError(f"logits choose among {logits.shape[0]} inputs, but x has {x.shape[1]} features")
    elif candidates.shape != logits.shape or candidates.dtype != torch.int64:
        raise ValueError(
            f"candidates need the shape of logits, {tuple(logits.shape)}, and int64, "
            f"got {tuple(candidates.shape)} of {candidates.dtype}"
        )


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


class Choice:
    """What the gradients of a learnable wiring need, kept between forward and backward pass.

    Args:
        ctx: Of the operation; its inputs begin with x and logits.
        features: Of x.
    """

    def __init__(self, ctx: Any, backend: ModuleType, logits: Tensor, features: int, tau: float) -> None:
        self.needs_x, self.needs_logits = ctx.needs_input_grad[:2]
        self.backend, self.logits, self.features, self.tau = backend, logits, features, tau

    def gradients(
        self, inputs: Tensor, logits: Tensor, candidates: Tensor | None, chosen: Tensor, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of x and of logits from that of the pins (batch, P); the logits' may be left as factors.

        Args:
            inputs: What the back end's `choose` made of x; likewise `chosen`.
        """
        x_grad = logits_grad = None
        if self.needs_x:
            x_grad = self.backend.select_x_gradient(logits, candidates, chosen, self.tau, grad, self.features)
        if self.needs_logits and candidates is None and self._can_factor(inputs, len(grad)):
            self.logits.factors = Factors(inputs, cpp.feature_major(grad), len(grad))
        elif self.needs_logits:
            logits_grad = self.backend.select_logits_gradient(inputs, candidates, grad)
        return x_grad, logits_grad

    def _can_factor(self, inputs: Tensor, batch: int) -> bool:
        is_bits = self.backend is cpp and inputs.dtype == torch.int64
        return is_bits and batch <= cpp.FACTORED_BATCH and accepts_factors(self.logits)


class _Select(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | Bits, logits: Tensor, candidates: Tensor | None, tau: float, backend: ModuleType
    ) -> Tensor:
        inputs, chosen = backend.choose(x, logits, candidates)
        ctx.choice = Choice(ctx, backend, logits, x.shape[1], tau)
        ctx.save_for_backward(inputs, logits if ctx.needs_input_grad[0] else None, candidates, chosen)
        return backend.read(inputs, chosen, len(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *ctx.choice.gradients(*ctx.saved_tensors, grad), None, None, None


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad
