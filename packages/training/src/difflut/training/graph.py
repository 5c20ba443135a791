"""Training steps as replays of a CUDA graph, or on a CPU of a recording."""

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from difflut import kernels
from difflut.models import LUTNetwork
from difflut.nodes.parts import Part
from difflut.training.evaluation import rows_at_once
from difflut.training.losses import cross_entropy
from difflut.training.ranks import GradientSums
from difflut.training.samples import Samples

WARM_UP = 2
ALL = slice(None)  # rows


class GraphedSteps:
    """Steps that need nothing from Python: choosing samples, forward, loss, backward and optimiser in one graph.

    The data set stays on the device as packed bits. Where the samples change between epochs they are encoded again
    into the same memory, so the graphs stay valid; each of several processes then encodes its own part of the epoch
    alone. It does so too where all samples would not fit, which costs a transfer in each epoch. The first steps with a
    size run one kernel after the other, as the capture of a graph demands; they are steps of the training like all
    others. On a CPU a graph is a `kernels.Recording`; what cannot be recorded runs as it is in every step.

    Args:
        model: Network on a device where `serves` says so, its encoder fitted.
        samples: Samples, on which `begin` was called.
        optimizer: Optimizer of the model's parameters.
        loss: Loss of logits and of what `samples.targets` gives.
        sums: Sums of the gradients over all processes, which is part of the graph.
        penalty: Function that gives what is added to the loss, if anything.
    """

    def __init__(
        self,
        model: LUTNetwork,
        samples: Samples,
        optimizer: Optimizer,
        loss: Callable[..., Tensor],
        sums: GradientSums,
        penalty: Callable[[], Tensor | None],
    ) -> None:
        self.penalty = penalty
        self.model, self.samples, self.optimizer, self.loss, self.sums = model, samples, optimizer, loss, sums
        self.device = device = next(model.parameters()).device
        self.targets = [each.to(device) for each in samples.targets(ALL)]
        # Where the loss takes more than class indices, a batch's rows are needed, not only their labels.
        self._labels = self.targets[0] if len(self.targets) == 1 else torch.arange(len(samples), device=device)
        self._rows: kernels.PackedRows | None = None
        self._bits = model.encode(samples.x[:1].to(device)).shape[1]
        self._at_once = rows_at_once(self._bits)
        self._version = samples.version
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.holds_part = sums.ranks.count > 1 and (samples.augmentation is not None or not self._fits())
        self.totals = torch.zeros(2, dtype=torch.float64, device=device)
        self._orders: dict[int, tuple[list[Part], Tensor]] = {}
        self.reset()

    @staticmethod
    def serves(model: LUTNetwork) -> bool:
        """Whether steps of a model can be graphs: on a GPU, or on a CPU where the C++ kernels serve it."""
        on_gpu = next(model.parameters()).device.type == "cuda"
        return on_gpu or all(kernels.backend_for(p).name == "cpp" for p in model.parameters())

    def reset(self) -> None:
        """Forgets the graphs; needed when tensors of the model or the optimizer were replaced."""
        self._graphs: dict[int, Callable[[], None]] = {}
        self._done: dict[int, int] = {}
        self._rates: list[float] = []

    def epoch(self, number: int, batch_size: int) -> Iterator[Part]:
        """Trains on all samples in the order of an epoch; yields the part of the batch after each step.

        `totals` then holds the summed loss and the number of correct samples of these parts.
        """
        drawn = self._orders.pop(number, None)
        parts, order = drawn or self._order(number, batch_size)
        self._hold(order)
        self._follow_rates()
        self.totals.zero_()
        for part in parts:
            self._step(part)
            yield part
        self._orders = {number + 1: self._order(number + 1, batch_size)}  # while the device still works

    def _order(self, number: int, batch_size: int) -> tuple[list[Part], Tensor]:
        """The parts of an epoch's batches, and their rows one after the other."""
        batches = self.samples.order(number).split(batch_size)
        parts = [self.sums.ranks.part(len(chosen)) for chosen in batches]
        order = torch.cat([chosen[part.computed] for chosen, part in zip(batches, parts, strict=True)])
        return parts, order if self.stream is None else order.pin_memory().to(self.device, non_blocking=True)

    def _fits(self) -> bool:
        """Whether the packed bits of all samples take less than half of the memory that is free on a GPU."""
        return self.stream is None or len(self.samples) * self._bits / 8 < torch.cuda.mem_get_info(self.device)[0] / 2

    def _hold(self, order: Tensor) -> None:
        """Has on the device what an epoch visits, in this order."""
        x, labels = self.samples.x, self._labels
        if self.holds_part:
            chosen, labels = order.to(x.device), labels[order]
            stretches: Iterable[Tensor] = (x[rows] for rows in chosen.split(self._at_once))
            order = torch.arange(len(order), device=order.device)
        else:
            stretches = x.split(self._at_once)
        bits = (self.model.encode(some.to(self.device)) for some in stretches)
        if self._rows is None:
            self._rows = kernels.PackedRows(bits, labels)
        elif self.holds_part or self._version != self.samples.version:
            self._rows.replace(bits, labels)
        if self._version != self.samples.version:
            for held, now in zip(self.targets, self.samples.targets(ALL), strict=True):
                held.copy_(now)
        self._version = self.samples.version
        self._rows.begin(order)

    def _follow_rates(self) -> None:
        if isinstance(self.optimizer, kernels.Adam):
            return self.optimizer.refresh()
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        if rates != self._rates:  # other optimizers keep the rate in the graph
            self.reset()
            self._rates = rates
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True

    def _step(self, part: Part) -> None:
        # All processes capture the same steps, so they have the same key; a size of batch decides its parts.
        if replay := self._graphs.get(part.total):
            return replay()
        done = self._done[part.total] = self._done.get(part.total, 0) + 1
        if self.stream is not None:
            self._step_on(self.stream, part, captures=done == WARM_UP)
        elif done < WARM_UP:
            self._train_by_notes(part)
        else:
            with kernels.Recording() as recording:
                self._train(part)
            repeats = recording.is_complete
            self._graphs[part.total] = recording.replay if repeats else partial(self._train_by_notes, part)

    def _train_by_notes(self, part: Part) -> None:
        with kernels.by_notes():  # so that all steps round alike, recorded or not
            self._train(part)

    def _step_on(self, stream: torch.cuda.Stream, part: Part, captures: bool) -> None:
        current = torch.cuda.current_stream(stream.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self._train(part)
        current.wait_stream(stream)
        if captures:
            gc.collect()  # now, and not in the capture: to free the memory of an earlier graph would spoil this one
            graph = torch.cuda.CUDAGraph()
            # Only the work of this thread is captured, since a thread of NCCL checks earlier sums meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._train(part)
            self._graphs[part.total] = graph.replay

    def _train(self, part: Part) -> None:
        with self.sums.ranks.computing(part):
            assert self._rows is not None  # as an epoch has begun
            bits, labels = self._rows.next_batch(max(part.rows, 1))
            targets = [labels]
            if len(self.targets) > 1:
                # An index in brackets may be a mask, whose result has a size that cannot be recorded.
                targets = [each.index_select(0, labels) for each in self.targets]
            logits = self.model.classify(bits)
            self.optimizer.zero_grad(set_to_none=True)
            output, gradient = self._objective(part, logits, *targets)
            outputs, gradients = [output], [gradient]
            if (penalty := self.penalty()) is not None:
                outputs.append(penalty)
                gradients.append(torch.full_like(penalty, part.share))
            with self.sums.following():
                torch.autograd.backward(outputs, gradients)
        self.optimizer.step()

    def _objective(self, part: Part, logits: Tensor, y: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """The tensor from which the backward pass starts, and its gradient of the mean loss over the whole batch."""
        if self.loss in (cross_entropy, F.cross_entropy):  # loss and gradient in one kernel
            totals = self.totals if part.rows else torch.zeros_like(self.totals)
            gradient = kernels.cross_entropy_gradient(logits, y, totals)
            return logits, gradient if part.rows == part.total else gradient * part.share
        loss = self.loss(logits, y, *others)
        correct = (logits.argmax(1) == y)[: part.rows].sum()
        self.totals += torch.stack((loss.detach() * part.rows, correct))
        return loss, torch.full_like(loss, part.share)
