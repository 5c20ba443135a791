"""Training steps as replays of a CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from difflut import kernels
from difflut.models import LUTNetwork
from difflut.training.losses import cross_entropy
from difflut.training.samples import AT_ONCE, Samples

WARM_UP = 2


class GraphedSteps:
    """Steps that need nothing from the host: choosing samples, forward, loss, backward and optimiser in one graph.

    The data set stays on the device as packed bits; where the samples change between epochs it is encoded again, in the
    same place, so the graphs stay valid. The first steps with a batch size are done one kernel after the other, as the
    capture of a graph demands; all count.

    Args:
        model: On a GPU, its encoder fitted.
        samples: Begun.
        optimizer: Of the model's parameters.
        loss: Of logits and class indices and, where samples are taught, the teacher's logits.
    """

    def __init__(
        self,
        model: LUTNetwork,
        samples: Samples,
        optimizer: Optimizer,
        loss: Callable[..., Tensor] = cross_entropy,
    ) -> None:
        self.model, self.samples, self.optimizer, self.loss = model, samples, optimizer, loss
        device = next(model.parameters()).device
        self.y = samples.y.to(device)
        self.taught = None if samples.taught is None else samples.taught.to(device)
        # With a teacher a batch's rows are needed, not only their labels.
        labels = self.y if self.taught is None else torch.arange(len(self.y), device=device)
        self.rows, self._version = kernels.PackedRows(self._encoded(), labels), samples.version
        self.totals = torch.zeros(2, dtype=torch.float64, device=device)
        self.stream = torch.cuda.Stream(device)
        self._orders: dict[int, Tensor] = {}
        self.reset()

    def reset(self) -> None:
        """Forgets the graphs; needed when tensors of the model or the optimizer were replaced."""
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._done: dict[int, int] = {}
        self._rates: list[float] = []

    def epoch(self, number: int, batch_size: int) -> Iterator[int]:
        """Trains on all samples in the order of an epoch; yields the number of samples after each step.

        `totals` then holds the summed loss and the number of correct samples.
        """
        self._follow_samples()
        self._follow_rates()
        self.totals.zero_()
        order = self._orders.pop(number, None)
        self.rows.begin(self._order(number) if order is None else order)
        for start in range(0, len(self.y), batch_size):
            size = min(batch_size, len(self.y) - start)
            self._step(size)
            yield size
        self._orders = {number + 1: self._order(number + 1)}  # drawn while the device is still at work

    def _order(self, number: int) -> Tensor:
        return self.samples.order(number).pin_memory().to(self.y.device, non_blocking=True)

    def _encoded(self) -> Iterator[Tensor]:
        device = next(self.model.parameters()).device
        return (self.model.encode(some.to(device)) for some in self.samples.x.split(AT_ONCE))

    def _follow_samples(self) -> None:
        if self._version == self.samples.version:
            return
        self.rows.replace(self._encoded())
        if self.taught is not None and self.samples.taught is not None:
            self.taught.copy_(self.samples.taught)
        self._version = self.samples.version

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

    def _step(self, size: int) -> None:
        graph = self._graphs.get(size)
        if graph is not None:
            return graph.replay()
        with self._on_stream():
            self._train(size)
        self._done[size] = self._done.get(size, 0) + 1
        if self._done[size] == WARM_UP:
            self._graphs[size] = graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                self._train(size)

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)

    def _train(self, size: int) -> None:
        bits, y = self.rows.choose(size)
        taught: tuple[Tensor, ...] = ()
        if self.taught is not None:
            y, taught = self.y[y], (self.taught[y],)
        logits = self.model.classify(bits)
        self.optimizer.zero_grad(set_to_none=True)
        if self.loss in (cross_entropy, F.cross_entropy):  # with its gradient in one kernel
            outputs, gradients = [logits], [kernels.cross_entropy_gradient(logits, y, self.totals)]
        else:
            loss = self.loss(logits, y, *taught)
            self.totals += torch.stack((loss.detach() * size, (logits.argmax(1) == y).sum()))
            outputs, gradients = [loss], [torch.ones_like(loss)]
        if (penalty := self.model.regularization()) is not None:
            outputs.append(penalty)
            gradients.append(torch.ones_like(penalty))
        torch.autograd.backward(outputs, gradients)
        self.optimizer.step()
