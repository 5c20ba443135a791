"""What surrounds the network in a training step: its samples and its loss."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.kernels import cpp, cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits


class PackedRows:
    """Labelled samples as packed bits, and the order in which batches take them, all on the device.

    Taking a batch is one kernel that needs nothing from the host, so it can be part of a CUDA graph or a `Recording`.

    Args:
        bits: Samples of 0 and 1, in one or several parts. Each (rows, features), float32
        labels: (rows,), int64, where there are kernels: on a GPU, or on a CPU with a C++ compiler
    """

    def __init__(self, bits: Iterable[Tensor], labels: Tensor) -> None:
        packed = []
        for columns in bits:
            self.features = columns.shape[1]
            packed.append(_by_sample(columns))
        self.rows = torch.cat(packed)
        self.labels = labels.clone(memory_format=torch.contiguous_format)
        self.order = torch.arange(len(labels), device=labels.device)
        self.position = torch.zeros(1, dtype=torch.int64, device=labels.device)

    def replace(self, bits: Iterable[Tensor], labels: Tensor) -> None:
        """Puts as many other samples in the place of those given; graphs that read them stay valid."""
        torch.cat([_by_sample(columns) for columns in bits], out=self.rows)
        self.labels.copy_(labels)

    def begin(self, order: Tensor) -> None:
        """Starts over with a new order, of all samples or of some."""
        self.order[: len(order)].copy_(order)
        self.position.zero_()

    def next_batch(self, batch: int) -> tuple[Bits, Tensor]:
        """The next samples and their labels; so many must be left in the order."""
        if not self.rows.is_cuda:
            words, labels = cpp.choose(self.rows, self.labels, self.order, self.position, batch, self.features)
            return Bits(words, batch), labels
        words = torch.empty(
            self.features, 4 * cuda.padded(batch) // cuda.SAMPLES, dtype=torch.int32, device=self.rows.device
        )
        labels = self.labels.new_empty(batch)
        extents = self.order, self.position, cuda.ticket(self.rows.device)
        cuda.launch("choose", self.rows, self.rows.shape[1], self.labels, *extents, batch, self.features, words, labels)
        return Bits(words, batch), labels


def _by_sample(bits: Tensor) -> Tensor:  # (rows, features) to (rows, words of 32 features, on a CPU 64)
    if not bits.is_cuda:
        return cpp.by_sample(bits)
    words = -(-bits.shape[1] // 32)
    padded = F.pad(bits >= 0.5, (0, 32 * words - bits.shape[1])).view(len(bits), words, 32)
    weights = torch.tensor([1 << i for i in range(31)] + [-(1 << 31)], dtype=torch.int32, device=bits.device)
    return (padded * weights).sum(-1, dtype=torch.int32)


def cross_entropy_gradient(logits: Tensor, labels: Tensor, totals: Tensor) -> Tensor:
    """The gradient of the mean cross entropy with respect to the logits; the loss itself is added to `totals`.

    Args:
        logits: (batch, classes)
        labels: (batch,), int64
        totals: Running sums of the loss and of correct samples, to which those of the batch are added. (2,), float64

    Returns:
        (batch, classes)
    """
    logits, (batch, classes) = logits.detach(), logits.shape
    if backend_for(logits) is cuda:
        rows = cuda.feature_major(logits)
        grad, parts = torch.empty_like(rows), totals.new_empty(batch // 4 + 2)
        ticket = cuda.ticket(logits.device)
        cuda.launch("cross_entropy", rows, labels.contiguous(), grad, totals, parts, ticket, batch, classes)
        return grad.t()
    if backend_for(logits) is cpp:
        return cpp.cross_entropy_gradient(logits, labels, totals)
    totals[0] += F.cross_entropy(logits, labels, reduction="sum")
    totals[1] += (logits.argmax(1) == labels).sum()
    return (logits.softmax(1) - F.one_hot(labels, classes)) / batch
