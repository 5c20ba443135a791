"""Training a network epoch by epoch, with everything that a later continuation needs in its state."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut import kernels
from difflut.layers.learnable import Learnable
from difflut.models import LUTNetwork
from difflut.nodes import freeze
from difflut.nodes.parts import Part
from difflut.registry import checked_constructor
from difflut.training.area import Cost
from difflut.training.continuing import check_optimizer
from difflut.training.evaluation import check_labels
from difflut.training.freezing import settle
from difflut.training.graph import GraphedSteps
from difflut.training.losses import cross_entropy
from difflut.training.ranks import GradientSums, Ranks
from difflut.training.refinement import Refinement
from difflut.training.samples import Augmentation, Samples
from difflut.training.threads import Threads

# Takes a step's number, and a function that gives the metrics so far, as this process sees them; only calling that
# function waits for the device.
Progress = Callable[[int, Callable[[], dict[str, float]]], None]


class DivergedError(RuntimeError):
    """Training whose loss is no longer a finite number."""


class Trainer:
    """Trains a network; its data may lie on its device or, when too large for that, elsewhere.

    Each epoch visits all samples once, in an order that follows from the seed and the epoch's number. Where torch has a
    process group its processes train together: each computes a part of every batch, and the network is that of one
    process with the same seed, to the rounding of sums over rows (see `Ranks`).

    Args:
        model: Network on the device that trains it.
        x: Training inputs `(rows, *features)`.
        y: Class indices `(rows,)`.
        batch_size: Samples in a step, over all processes; the last step of an epoch takes what is left.
        optimizer: Function that makes the optimizer of the parameters.
        schedule: Function that makes the learning rate schedule of the optimizer; it advances once an epoch, and
            decides the rate by the number of epochs alone. None keeps the rate.
        loss: Loss of logits and class indices; with a teacher, of its logits too, and with weights, of these at last.
            A mean over the rows.
        seed: Seed of the order of the samples, and of the augmentation.
        graph: Whether steps are replays of a CUDA graph, or on a CPU of a `kernels.Recording`: the same to rounding,
            but for which bits flips choose, and quicker where batches are small. Samples are kept as bits, so not with
            learnable thresholds.
        augmentation: Changes the inputs at the start of each epoch (see `Samples`); None leaves them as they are.
        teacher: Function that gives the logits of inputs, which the loss takes as its third argument.
        refinement: Function that makes what works on the hard network of the model, instead of gradient steps, from
            epoch `refined_from` on; the schedule keeps its last rate.
        refined_from: The number of epochs of gradient steps before it.
        freezes: The epoch before which each layer but the last is frozen, ascending (see `front_to_back`); from then on
            it is exactly its tables. None freezes none.
        cost: Function that makes a term of the loss that depends on the network alone.
        wiring_epochs: Epochs in which wirings learn; from then on they are as good as fixed. None is all epochs.
        redraw_epochs: Epochs before which, but for the first, wirings draw half of their candidates anew (see
            `Learnable.redraw`). None draws none.
        weights: Weight of each row `(rows,)`, which the loss takes as its last argument. Not with a refinement, which
            weighs all rows alike.

    Raises:
        ValueError: The data do not fit together, a regularizer does not fit its node, the refinement sees copies of
            samples that nothing changes, weights meet what does not look at them, or no wiring learns or has
            candidates to draw.
    """

    @checked_constructor
    def __init__(
        self,
        model: LUTNetwork,
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int = 128,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        loss: Callable[..., Tensor] = cross_entropy,
        seed: int = 0,
        graph: bool = False,
        augmentation: Augmentation | None = None,
        teacher: Callable[[Tensor], Tensor] | None = None,
        refinement: Callable[[LUTNetwork], Refinement] | None = None,
        refined_from: int = 0,
        freezes: Sequence[int] | None = None,
        cost: Callable[[LUTNetwork], Cost] | None = None,
        wiring_epochs: int | None = None,
        redraw_epochs: int | None = None,
        weights: Tensor | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be a whole number, 1 or more")
        if freezes is not None and (len(freezes) != len(model.layers) - 1 or list(freezes) != sorted(freezes)):
            raise ValueError(
                f"freezes={list(freezes)} must hold ascending epochs, one for each of the {len(model.layers)} layers "
                "but the last"
            )
        if graph and model.encoder is not None and model.encoder.learnable:
            raise ValueError(
                "graph=True keeps the samples as bits, and learnable thresholds change these in each step; "
                "set graph=False"
            )
        learnable = [layer for layer in model.layers if isinstance(layer, Learnable)]
        if wiring_epochs is not None and not learnable:
            raise ValueError(f"wiring_epochs={wiring_epochs} has no effect: no layer of the network learns its wiring")
        if redraw_epochs is not None and not any(layer.chooses_among_few for layer in learnable):
            raise ValueError(
                f"redraw_epochs={redraw_epochs} has no effect: no layer has a top_k of at least 2 that is smaller than "
                "the number of inputs that its nodes may read"
            )
        if weights is not None and refinement:
            raise ValueError("weights of rows have no effect with a refinement; leave one of them out")
        check_labels(model, x, y)
        with torch.no_grad():
            model.regularization()  # a regularizer that does not fit fails here, before any work
        self.device = next(model.parameters()).device
        self.ranks = Ranks.present()
        self.ranks.follow_first(model)
        self.samples = Samples(x, y, augmentation, teacher, seed, self.device, weights)
        self.model, self.batch_size, self.loss = model, batch_size, loss
        self.optimizer = optimizer(model.parameters())
        if isinstance(self.optimizer, kernels.Adam):
            # Only the sum over processes reads gradients between the backward pass and the step.
            self.optimizer.takes_factors = self.ranks.count == 1
        self.sums = GradientSums(model.parameters(), self.ranks)
        self.schedule = schedule(self.optimizer) if schedule else None
        self.refinement, self.refined_from = refinement and refinement(model), refined_from
        if self.refinement and augmentation is None:
            _check_copies(self.refinement)
        self.freezes, self._frozen = freezes or [], 0
        self.wiring_epochs = math.inf if wiring_epochs is None else wiring_epochs
        self.redraw_epochs = redraw_epochs or 0
        self.cost = cost and cost(model)
        self.epoch = 0
        self._graphed: GraphedSteps | None = None
        self.graph = graph and GraphedSteps.serves(model)
        self.threads = Threads(self.device)

    @property
    def refines(self) -> bool:
        """Whether the next epoch is one of the refinement."""
        return self.refinement is not None and self.epoch >= self.refined_from

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the next epoch: batches, or nodes that the refinement visits."""
        return self.model.num_luts if self.refines else -(-len(self.samples) // self.batch_size)

    def batches(self) -> Iterator[tuple[Part, tuple[Tensor, ...]]]:
        """This process's part of each batch of the present epoch: inputs, and what the loss takes besides logits."""
        samples = self.samples
        samples.begin(self.epoch)
        for chosen in samples.order(self.epoch).to(samples.x.device).split(self.batch_size):
            part = self.ranks.part(len(chosen))
            rows = chosen[part.computed]
            yield part, tuple(some.to(self.device) for some in (samples.x[rows], *samples.targets(rows)))

    def step(self, part: Part, x: Tensor, y: Tensor, *others: Tensor) -> Tensor:
        """One optimiser step; returns the part's summed loss and number of correct samples, still on the device."""
        with self.ranks.computing(part):
            logits = self.model(x)
            loss = self.loss(logits, y, *others)
            self.optimizer.zero_grad(set_to_none=True)
            penalty = self.penalty()
            objective = loss if penalty is None else loss + penalty
            with self.sums.following():
                objective.backward(None if part.share == 1 else torch.full_like(objective, part.share))
        self.optimizer.step()
        with torch.no_grad():
            # Counts lie with the batch as the fast axis, where torch's argmax takes several times as long.
            correct = (logits.contiguous().argmax(1) == y)[: part.rows].sum()
            return torch.stack((loss.detach() * part.rows, correct))

    def penalty(self) -> Tensor | None:
        """What is added to the loss: regularizers of nodes and the cost of the network; None where there is nothing."""
        regularization = self.model.regularization()
        if self.cost is None:
            return regularization
        return self.cost() if regularization is None else regularization + self.cost()

    def _steps(self) -> tuple[Tensor, Iterator[Part]]:
        """The sums of loss and correct samples, and an iterator that does a step and gives its part of the batch."""
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)

        def steps() -> Iterator[Part]:
            for part, batch in self.batches():
                totals.add_(self.step(part, *batch))
                yield part

        return totals, steps()

    def _graphed_steps(self) -> tuple[Tensor, Iterator[Part]]:
        self.samples.begin(self.epoch)
        if self._graphed is None:
            self._graphed = GraphedSteps(self.model, self.samples, self.optimizer, self.loss, self.sums, self.penalty)
        return self._graphed.totals, self._graphed.epoch(self.epoch, self.batch_size)

    def run_epoch(self, progress: Progress | None = None) -> dict[str, float]:
        """Trains for one epoch.

        Args:
            progress: Called after each step.

        Returns:
            `train_loss` and `train_accuracy` as seen during the epoch, `learning_rate`, `seconds`,
            `samples_per_second`, and `threads`, the number that steps took in the end (see `Threads`).

        Raises:
            DivergedError: The loss is not finite; the state is that of the diverged network.
            RuntimeError: The processes that train together have different parameters.
        """
        if self.refinement and self.refines:
            return self._refine(self.refinement, progress)
        self.model.train()
        self._freeze()
        self._redraw()
        if self.cost:
            self.cost.begin(self.samples.x)
        rate, start = self.optimizer.param_groups[0]["lr"], time.perf_counter()
        totals, parts = self._graphed_steps() if self.graph else self._steps()
        seen = counted = 0  # rows of all processes, and those that are in the totals

        def metrics() -> dict[str, float]:
            return self._metrics(totals.tolist(), counted, seen, rate, time.perf_counter() - start)

        for number, part in enumerate(self.threads.run(parts), start=1):
            seen, counted = seen + part.total, counted + part.rows
            if progress:
                progress(number, metrics)
        if self.schedule:
            self.schedule.step()
        self.epoch += 1
        self.ranks.add(totals)
        counted = seen
        result = metrics()
        if not math.isfinite(result["train_loss"]):
            raise DivergedError(
                f"the training loss became {result['train_loss']} in epoch {self.epoch}; lower the learning rate "
                f"(now {rate:g}) or the group sum's scale (raise tau)"
            )
        self.ranks.check_same(self.model.parameters())
        return result

    def _freeze(self) -> None:
        """Freezes layers and settles wirings that are due; evaluation between epochs leaves all in training mode."""
        due = sum(epoch <= self.epoch for epoch in self.freezes)
        encoder = self.model.encoder
        freeze([*([encoder] if due and encoder is not None else []), *self.model.layers[:due]])
        settles = self.epoch >= self.wiring_epochs and settle(self.model.layers)
        if (due > self._frozen or settles) and self._graphed:
            self._graphed.reset()
        self._frozen = due

    def _redraw(self) -> None:
        """Draws candidates of wirings anew before all epochs but the first, for as long as that is wanted."""
        if not 0 < self.epoch < self.redraw_epochs:
            return
        generator = self.samples.generator(self.epoch + 750_000)  # apart from those of orders and augmentation
        for layer in self.model.layers:
            if isinstance(layer, Learnable) and layer.learns_wiring:
                layer.redraw(generator)
        if self._graphed:
            self._graphed.reset()

    def _refine(self, refinement: Refinement, progress: Progress | None) -> dict[str, float]:
        """An epoch of visits to nodes; all processes do the same."""
        rate, start = self.optimizer.param_groups[0]["lr"], time.perf_counter()
        drawn = self.epoch if refinement.redraws else self.refined_from
        x, y = self.samples.augmented(drawn, refinement.copies, beside=not refinement.redraws)
        state, rows = refinement.begin(x, y.to(self.device)), len(x)

        def metrics() -> dict[str, float]:
            return self._metrics(state.totals(), rows, rows, rate, time.perf_counter() - start)

        visits = self.threads.run(refinement.visits(state, self.samples.generator(self.epoch)))
        for number in visits:
            if progress:
                progress(number, metrics)
        self.ranks.follow_first(self.model)
        self.epoch += 1
        return metrics()

    def _metrics(
        self, totals: Sequence[float], counted: int, seen: int, rate: float, seconds: float
    ) -> dict[str, float]:
        loss, correct = totals
        return {
            "train_loss": loss / max(counted, 1),
            "train_accuracy": correct / max(counted, 1),
            "learning_rate": rate,
            "seconds": seconds,
            "samples_per_second": seen / seconds,
            "threads": self.threads.taken,
        }

    def release(self) -> None:
        """Forgets captured steps, which a process group that is to be destroyed would wait for."""
        self._graphed = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs for exactly the same continuation, besides the model's own state."""
        return {
            "epoch": self.epoch,
            "samples": self.samples.digest,
            "optimizer": self.optimizer.state_dict(),
            "optimizer_type": type(self.optimizer).__name__,
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken; the schedule is the trainer's own, which may be that of more epochs.

        Raises:
            ValueError: The state is of training on other samples, or with another optimizer.
        """
        if state["samples"] != self.samples.digest:
            raise ValueError("the state is of training on other samples; give it the same ones in the same order")
        groups_at_start = [dict(group) for group in self.optimizer.param_groups]
        check_optimizer(type(self.optimizer).__name__, groups_at_start, state)
        self.epoch = state["epoch"]
        self.optimizer.load_state_dict(state["optimizer"])
        self._graphed = None
        for group, at_start in zip(self.optimizer.param_groups, groups_at_start, strict=True):
            group["lr"] = at_start["lr"]
        if self.schedule:
            with warnings.catch_warnings(action="ignore"):  # torch warns that the optimizer did no steps in between
                for _ in range(min(self.epoch, self.refined_from) if self.refinement else self.epoch):
                    self.schedule.step()
        torch.set_rng_state(state["rng"])
        if state["device_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_rng"], self.device)


def _check_copies(refinement: Refinement) -> None:
    """Refuses options of copies where there is no augmentation, by which they would differ."""
    for name, value, default in (("copies", refinement.copies, 1), ("redraws", refinement.redraws, True)):
        if value != default:
            raise ValueError(
                f"{name}={value} has no effect without an augmentation, by which copies differ; "
                "give one, or leave it out"
            )
