"""The teacher of a run, whose logits its loss distils."""

import inspect
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from difflut.config import ConfigurationError
from difflut.models import load_sealed, save_sealed
from difflut.training import Teacher
from difflut.training.ranks import Ranks
from experiments.data import Dataset
from experiments.shared.arguments import configured


def check_pairing(loss: Callable[..., Tensor], teacher: Callable[..., Teacher] | None) -> None:
    """Refuses a loss that needs a teacher without one, and a teacher to whom the loss does not listen.

    Raises:
        ConfigurationError: One of them was given.
    """
    if teacher is not None and "x" not in inspect.signature(teacher).parameters:
        raise ConfigurationError(
            f"train.teacher = {teacher.__name__} is a network that is not trained: add "
            f"train.teacher = @teachers.trained and teachers.trained.network = @teachers.{teacher.__name__}"
        )
    required = [p for p in inspect.signature(loss).parameters.values() if p.default is p.empty]
    if len(required) > 2 and teacher is None:
        raise ConfigurationError(f"the loss {loss.__name__} needs a teacher: add train.teacher = @teachers.trained")
    if len(required) < 3 and teacher is not None:
        raise ConfigurationError(
            f"the loss {loss.__name__} has no use for a teacher: add train.loss = @losses.distillation"
        )


def check_first_call(loss: Callable[..., Tensor], teacher: Callable[..., Teacher] | None, data: Dataset) -> None:
    """Makes an untrained teacher and calls the loss on two rows: what cannot be fails here, before any work.

    Raises:
        ValueError: A number of one of them is out of range, or the teacher cannot take such rows.
    """
    x, y = data.x_train[:2].cpu(), data.y_train[:2].cpu()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        taught: tuple[Tensor, ...] = ()
        if teacher is not None:
            taught = (teacher(x=x, y=y, num_classes=data.num_classes, device="cpu", epochs=0)(x),)
        loss(torch.zeros(len(y), data.num_classes), y, *taught)


def educated(teacher: Callable[..., Teacher], data: Dataset, device: torch.device, path: Path, ranks: Ranks) -> Teacher:
    """The teacher of a run, which its folder keeps; the first process trains it where there is none yet."""
    there = ranks.from_first(path.exists)
    untrained = {"epochs": 0} if there or not ranks.is_first else {}
    made = teacher(x=data.x_train, y=data.y_train, num_classes=data.num_classes, device=device, **untrained)
    if there and ranks.is_first:
        with configured():
            made.load_state_dict(load_sealed(path))
    elif ranks.is_first:
        save_sealed(made.state_dict(), path)
    ranks.follow_first(made)
    if len(data.x_val):
        with torch.no_grad():
            classes = torch.cat([made(x.to(device)).argmax(1).cpu() for x in data.x_val.split(1000)])
        right = (classes == data.y_val.cpu()).sum().item() / len(classes)
        print(f"teacher: {right:.2%} of the validation rows", flush=True)
    return made
