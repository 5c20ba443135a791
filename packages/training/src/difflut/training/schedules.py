"""Optimizers and learning rate schedules of the published recipes."""

from collections.abc import Iterable
from typing import Any

from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR, SequentialLR, StepLR

from difflut import kernels
from difflut.registry import checked, register_optimizer, register_schedule


@register_optimizer("adam")
@checked
def adam(parameters: Iterable[Any], lr: float = 0.01, betas: tuple[float, float] = (0.9, 0.999)) -> Optimizer:
    """Adam, with one fused update of all parameters."""
    _check(lr, betas)
    return kernels.Adam(parameters, lr=lr, betas=(betas[0], betas[1]))


@register_optimizer("adamw")
@checked
def adamw(
    parameters: Iterable[Any],
    lr: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.002,
) -> Optimizer:
    """Adam with decoupled weight decay, with one fused update of all parameters."""
    _check(lr, betas)
    return kernels.Adam(parameters, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)


@register_optimizer("sgd")
@checked
def sgd(parameters: Iterable[Any], lr: float = 0.1, momentum: float = 0.9) -> Optimizer:
    """Stochastic gradient descent with momentum.

    Raises:
        ValueError: A number is out of range.
    """
    _check(lr)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum} must be at least 0 and below 1")
    return SGD(parameters, lr=lr, momentum=momentum, fused=True)


@register_schedule("step")
@checked
def step(optimizer: Optimizer, epochs: int, every: int = 14, gamma: float = 0.1) -> LRScheduler:
    """The rate times `gamma` after each `every` epochs; the published DWN notebook has 0.1 and 14.

    Raises:
        ValueError: A number is out of range.
    """
    if every < 1:
        raise ValueError(f"every={every} must be at least 1 epoch")
    _check_gamma(gamma)
    return StepLR(optimizer, every, gamma)


@register_schedule("milestones")
@checked
def milestones(optimizer: Optimizer, epochs: int, at: Iterable[int] = (30, 60, 90), gamma: float = 0.1) -> LRScheduler:
    """The rate times `gamma` after the given epochs; by default those of DWN (arXiv 2410.11112).

    Raises:
        ValueError: `gamma` is out of range.
    """
    _check_gamma(gamma)
    return MultiStepLR(optimizer, list(at), gamma)


@register_schedule("cosine")
@checked
def cosine(optimizer: Optimizer, epochs: int, final_lr: float = 0.0, hold: float = 0.0) -> LRScheduler:
    """The rate falls to `final_lr` along half a cosine, over the share of the training that `hold` leaves.

    Args:
        optimizer: Optimizer whose rate falls.
        epochs: Epochs of the training.
        final_lr: The last rate.
        hold: Share of the epochs, below 1, in which the rate stays as it is before it falls.

    Raises:
        ValueError: A number is out of range.
    """
    if not 0 <= hold < 1:
        raise ValueError(f"hold={hold} must be a share of the epochs, at least 0 and below 1")
    if final_lr < 0:
        raise ValueError(f"final_lr={final_lr} must be at least 0")
    held = round(hold * epochs)
    fall = CosineAnnealingLR(optimizer, max(epochs - held, 1), final_lr)
    return SequentialLR(optimizer, [ConstantLR(optimizer, 1.0), fall], [held]) if held else fall


def _check_gamma(gamma: float) -> None:
    if gamma <= 0:
        raise ValueError(f"gamma={gamma} must be above 0")


def _check(lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
    # torch has no clear message for some of these.
    if lr <= 0:
        raise ValueError(f"lr={lr} must be above 0")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas={betas} must each be at least 0 and below 1")
