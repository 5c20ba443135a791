"""Training steps as replays of a CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from difflut import kernels
from difflut.models import LUTNetwork

ENCODED_AT_ONCE = 4096
WARM_UP = 2


class GraphedSteps:
    """Steps that need nothing from the host: choosing samples, forward, loss, backward and optimiser in one graph.

    The data set is encoded once and stays on the device as packed bits. The first steps with a batch size are done one
    kernel after the other, as the capture of a graph demands; all count.

    Args:
        model: On a GPU, its encoder fitted.
        x: Training inputs `(rows, *features)`.
        y: Class indices `(rows,)`.
        optimizer: Of the model's parameters.
        loss: Of logits and class indices.
    """

    def __init__(
        self,
        model: LUTNetwork,
        x: Tensor,
        y: Tensor,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        device = next(model.parameters()).device
        encoded = (model.encode(some.to(device)) for some in x.split(ENCODED_AT_ONCE))
        self.rows = kernels.PackedRows(encoded, y.to(device))
        self.totals = torch.zeros(2, dtype=torch.float64, device=device)
        self.stream = torch.cuda.Stream(device)
        self.reset()

    def reset(self) -> None:
        """Forgets the graphs; needed when tensors of the model or the optimizer were replaced."""
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._done: dict[int, int] = {}
        self._rates: list[float] = []

    def epoch(self, order: Tensor, batch_size: int) -> Iterator[int]:
        """Trains on all samples in the given order; yields the number of samples after each step.

        `totals` then holds the summed loss and the number of correct samples.
        """
        self._follow_rates()
        self.totals.zero_()
        self.rows.begin(order)
        for start in range(0, len(order), batch_size):
            size = min(batch_size, len(order) - start)
            self._step(size)
            yield size

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
        logits = self.model.classify(bits)
        self.optimizer.zero_grad(set_to_none=True)
        if self.loss is F.cross_entropy:
            outputs, gradients = [logits], [kernels.cross_entropy_gradient(logits, y, self.totals)]
        else:
            loss = self.loss(logits, y)
            self.totals += torch.stack((loss.detach() * size, (logits.argmax(1) == y).sum()))
            outputs, gradients = [loss], [None]
        if any(layer.node.regularizers for layer in self.model.layers):
            outputs.append(self.model.regularization())
            gradients.append(None)
        torch.autograd.backward(outputs, gradients)
        self.optimizer.step()
