"""What surrounds the network in a training step: its samples and its loss."""

import torch
from torch import Tensor

from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import empty_bits, feature_major, pack


def by_sample(bits: Tensor) -> Tensor:
    """Samples (rows, features) as packed bits, (rows, ceil(features / 64)) int64."""
    return pack(bits.t())


def choose(
    rows: Tensor, labels: Tensor, order: Tensor, position: Tensor, batch: int, features: int
) -> tuple[Tensor, Tensor]:
    """The next samples of an order as packed bits, (features, ceil(batch / 64)) int64, and their labels (batch,)."""
    words, chosen = empty_bits(features, batch), torch.empty(batch, dtype=torch.int64)
    call("choose", rows, rows.shape[1], labels, order, position, batch, features, words, chosen)
    return words, chosen


def cross_entropy_gradient(logits: Tensor, labels: Tensor, totals: Tensor) -> Tensor:
    """See `step.cross_entropy_gradient`."""
    rows = feature_major(logits)
    grad, labels = torch.empty_like(rows), labels.contiguous()
    call("cross_entropy", rows, labels, *logits.shape, grad, totals)
    return grad.t()
