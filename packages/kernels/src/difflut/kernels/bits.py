"""Activations that are bits: packed, or floats known to be 0 and 1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from difflut.kernels.facts import known, note


@dataclass(frozen=True)
class Bits:
    """A batch of packed bits, which stands where a tensor (batch, features) of 0 and 1 could.

    Attributes:
        words: Bit i of word w of a feature is sample 32 w + i, on a CPU 64 w + i. (features, 4 ceil(batch / 128)),
            int32; on a CPU (features, ceil(batch / 64)), int64
        batch: Samples; the bits past them are 0.
    """

    words: Tensor
    batch: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.batch, len(self.words)

    @property
    def device(self) -> torch.device:
        return self.words.device

    ndim = 2
    dtype = torch.float32
    requires_grad = False

    def dim(self) -> int:
        return self.ndim

    def __len__(self) -> int:
        return self.batch

    def float(self) -> Tensor:
        """The same as float32, (batch, features), stored with the batch as the fast axis."""
        shifts = torch.arange(8 * self.words.itemsize, dtype=self.words.dtype, device=self.words.device)
        return mark_bits((self.words[:, :, None] >> shifts & 1).flatten(1)[:, : self.batch].float().t())


def mark_bits(x: Tensor) -> Tensor:
    """Notes that all of x is 0 or 1 (see `facts`)."""
    note(x, "holds_bits", True)
    return x


def entries_of(table: Tensor, y: Tensor) -> Tensor:
    """y, whose values are entries of the table: known as bits where those are."""
    return mark_bits(y) if holds_bits(table) else y


def holds_bits(x: Tensor | Bits) -> bool:
    """Whether all of x is known to be 0 or 1, without a look at it."""
    return isinstance(x, Bits) or known(x, "holds_bits") is not None
