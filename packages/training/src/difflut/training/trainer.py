"""Training a network epoch by epoch, with everything that a later continuation needs in its state."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut.models import LUTNetwork

Progress = Callable[[int, Callable[[], dict[str, float]]], None]


class DivergedError(RuntimeError):
    """Training whose loss is no longer a finite number."""


class Trainer:
    """Trains a network; its data may lie on its device or, when too large for that, elsewhere.

    Each epoch visits all samples once, in an order that follows from the seed and the epoch's number.

    Args:
        model: On the device that trains it.
        x: Training inputs `(rows, *features)`.
        y: Class indices `(rows,)`.
        batch_size: Samples in a step; the last step of an epoch takes what is left.
        optimizer: Makes the optimizer of the parameters.
        schedule: Makes the learning rate schedule of the optimizer; it advances once an epoch. None keeps the rate.
        loss: Of logits and class indices.
        seed: Of the order of the samples.

    Raises:
        ValueError: The data do not fit together.
    """

    def __init__(
        self,
        model: LUTNetwork,
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int = 128,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
        seed: int = 0,
    ) -> None:
        if len(x) != len(y) or not len(x):
            raise ValueError(f"got {len(x)} inputs and {len(y)} labels; their numbers must be equal and not 0")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.model, self.x, self.y = model, x, y
        self.batch_size, self.loss, self.seed = batch_size, loss, seed
        self.optimizer = optimizer(model.parameters())
        self.schedule = schedule(self.optimizer) if schedule else None
        self.device = next(model.parameters()).device
        self.epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the present epoch."""
        generator = torch.Generator().manual_seed((1_000_003 * self.seed + self.epoch) % 2**32)
        order = torch.randperm(len(self.x), generator=generator).to(self.x.device)
        for chosen in order.split(self.batch_size):
            yield self.x[chosen].to(self.device), self.y[chosen].to(self.device)

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns the summed loss and the number of correct samples, still on the device."""
        logits = self.model(x)
        loss = self.loss(logits, y)
        self.optimizer.zero_grad(set_to_none=True)
        (loss + self.model.regularization()).backward()
        self.optimizer.step()
        with torch.no_grad():
            return loss.detach() * len(y), (logits.argmax(1) == y).sum()

    def run_epoch(
        self, progress: Callable[[int, Callable[[], dict[str, float]]], None] | None = None
    ) -> dict[str, float]:
        """Trains for one epoch.

        Args:
            progress: Called after each step with its number and a function that gives the metrics so far; only calling
                that function waits for the device.

        Returns:
            `train_loss` and `train_accuracy` as seen during the epoch, `learning_rate`, and `samples_per_second`.

        Raises:
            DivergedError: The loss is not finite; the state is that of the diverged network.
        """
        self.model.train()
        rate, start = self.optimizer.param_groups[0]["lr"], time.perf_counter()
        loss_sum = torch.zeros((), device=self.device)
        correct = torch.zeros((), dtype=torch.long, device=self.device)
        seen = 0

        def metrics() -> dict[str, float]:
            return {
                "train_loss": loss_sum.item() / seen,
                "train_accuracy": correct.item() / seen,
                "learning_rate": rate,
                "samples_per_second": seen / (time.perf_counter() - start),
            }

        for number, (x, y) in enumerate(self.batches(), start=1):
            batch_loss, batch_correct = self.step(x, y)
            loss_sum += batch_loss
            correct += batch_correct
            seen += len(y)
            if progress:
                progress(number, metrics)
        if self.schedule:
            self.schedule.step()
        self.epoch += 1
        result = metrics()
        if not torch.isfinite(loss_sum):
            raise DivergedError(
                f"the training loss became {result['train_loss']} in epoch {self.epoch}; lower the learning rate "
                f"(now {rate:g}) or the group sum's scale (raise tau)"
            )
        return result

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs for exactly the same continuation, besides the model's own state."""
        return {
            "epoch": self.epoch,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken."""
        self.epoch = state["epoch"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])
        if state["device_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_rng"], self.device)
