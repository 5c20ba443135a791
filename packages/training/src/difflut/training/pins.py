"""Where the pins of a layer read, and where else each is worth more."""

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.training.hard_state import Level, addresses

GAIN = 1e-5  # the share of a node's worth by which a move must raise it, above rounding


class Pins:
    """The pins of a layer and what they may read.

    Attributes:
        bits: The layer's inputs on the rows on which pins choose: `(features, rows)`.
        prices: Price of the first pin that reads an input, in mean loss: `(features,)`.
        feature_prices: Price of the first pin that reads any of a part of the inputs, besides: `(parts,)` of equal
            sizes, the bits of each feature of the encoder. None where there are no such prices.
        readers: Pins that read each input: `(features,)`.
    """

    def __init__(self, level: Level, choices: Tensor | None, bits: Tensor) -> None:
        self.level, self.choices, self.bits = level, choices, bits
        self.may_move = may_move(choices)
        self.prices = torch.zeros(len(bits), device=bits.device)
        self.feature_prices: Tensor | None = None
        self.readers = torch.bincount(level.wiring.flatten(), minlength=len(bits))

    def paid(self) -> Tensor:
        """The price of all inputs that are read."""
        paid = self.prices @ (self.readers > 0).to(self.prices)
        if self.feature_prices is not None:
            paid += self.feature_prices @ (self._by_feature(self.readers) > 0).to(self.prices)
        return paid

    def _by_feature(self, of: Tensor) -> Tensor:
        assert self.feature_prices is not None  # the caller has looked
        return of.unflatten(-1, (len(self.feature_prices), -1)).sum(-1)

    def move(self, node: int, pin: int, read: int) -> tuple[int, int]:
        """Moves a pin of a node to another input; returns the move back."""
        before = int(self.level.wiring[node, pin])
        self.level.wiring[node, pin] = read
        self.readers[before] -= 1
        self.readers[read] += 1
        return pin, before

    def best_move(self, node: int, d: Tensor) -> tuple[int, int] | None:
        """The pin of a node whose move is worth most on the rows, and where to; None if no move is worth anything."""
        if not self.may_move:
            return None
        pins = self.level.wiring[node]
        by_address = _by_address(addresses(self.bits[pins].to(torch.uint8)), d, self.level.tables.shape[1])
        together, if_set = by_address.sum(1), by_address @ self.bits.t()  # (2**n,), (2**n, features)
        worth = torch.stack([_worth(together, if_set, pin) for pin in range(len(pins))])  # (n, features)
        # Inputs that only this pin reads: the new one has its price, and that of the old one is paid back.
        own = F.one_hot(pins, len(self.bits))
        paid = self.prices * (self.readers == own)
        if self.feature_prices is not None:
            own, readers = self._by_feature(own), self._by_feature(self.readers)
            paid += (self.feature_prices * (readers == own)).repeat_interleave(len(self.bits) // own.shape[1], 1)
        worth += len(d) * (paid.gather(1, pins[:, None]) - paid)
        if self.choices is not None:
            worth = worth.gather(1, self.choices[node])
        best, where = worth.flatten().max(0)
        if best <= together.abs().sum() * (1 + GAIN):
            return None
        pin, chosen = divmod(int(where), worth.shape[1])
        return pin, chosen if self.choices is None else int(self.choices[node, pin, chosen])


def may_move(choices: Tensor | None) -> bool:
    """Whether pins have more than one input to choose from, given the candidates of each; None is all inputs."""
    return choices is None or choices.shape[2] > 1


def _worth(together: Tensor, if_set: Tensor, pin: int) -> Tensor:
    """What a node is worth with each feature at a pin.

    Args:
        together: Sums of d by address. `(2**n,)`
        if_set: The same over the samples whose feature is 1. `(2**n, features)`
    """
    # Addresses that differ only in the pin are added up, since the pin now reads something else.
    ones = if_set.view(-1, 2, 2**pin, if_set.shape[1]).sum(1).flatten(0, 1)
    zeros = together.view(-1, 2, 2**pin).sum(1).flatten()[:, None] - ones
    return ones.abs().sum(0) + zeros.abs().sum(0)


def _by_address(address: Tensor, d: Tensor, size: int) -> Tensor:
    """`d (samples,)` in the row of each sample's address, 0 elsewhere: `(size, samples)`."""
    return torch.zeros(size, len(d), device=d.device).scatter_(0, address.long()[None], d[None])
