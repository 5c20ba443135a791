"""Switching between the relaxed and the hard form of a network, and noise that narrows the gap between them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from difflut import kernels


class Relaxable:
    """A module that is relaxed in training and hard in evaluation, unless `relaxed` asks otherwise.

    Attributes:
        is_frozen: Whether it is hard always (see `freeze`).
    """

    training: bool
    evaluates_relaxed = False
    is_frozen = False

    @property
    def is_relaxed(self) -> bool:
        return not self.is_frozen and (self.training or self.evaluates_relaxed)


@contextmanager
def relaxed(model: nn.Module) -> Iterator[nn.Module]:
    """Lets a model in evaluation mode compute its relaxed form, without the noise of training.

    The difference in accuracy to the hard form is the discretisation gap. What is frozen stays hard, as it trained.
    """
    modules = [module for module in model.modules() if isinstance(module, Relaxable)]
    for module in modules:
        module.evaluates_relaxed = True
    try:
        yield model
    finally:
        for module in modules:
            module.evaluates_relaxed = False


def freeze(modules: Iterable[nn.Module]) -> None:
    """Makes layers exactly their tables, and thresholds what they are, in training and in the relaxed form too."""
    for module in modules:
        module.eval().requires_grad_(False)
        for part in module.modules():
            if isinstance(part, Relaxable):
                part.is_frozen = True


def gumbel_noise(like: Tensor) -> Tensor:
    """Standard Gumbel noise in the shape of a tensor."""
    return -torch.empty_like(like).exponential_().log()


def logistic_noise(tensor: Tensor) -> Tensor:
    """Fills a tensor with standard logistic noise, the difference of two Gumbel variables."""
    return torch.logit(tensor.uniform_(), eps=1e-6)


def relaxed_bernoulli(logits: Tensor, temperature: float, noise: Tensor | None, hard: bool) -> Tensor:
    """A relaxed sample of bits with the given logits, `sigmoid((logits + noise) / temperature)`.

    Args:
        logits: Logits of any shape.
        temperature: Towards 0 the samples become bits.
        noise: Logistic noise in the shape of the logits; without it the result is the mean form and deterministic.
        hard: Whether the value is rounded to a bit; the gradient stays that of the relaxed value.
    """
    soft = torch.sigmoid((logits if noise is None else logits + noise) / temperature)
    return kernels.straight_through((soft >= 0.5).to(soft.dtype), soft) if hard else soft
