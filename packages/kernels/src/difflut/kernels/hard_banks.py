"""What layers are that read bits: banks of hard tables, and the largest or smallest of some bits."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from difflut.kernels.placements import PlacedWiring, Placements, Wiring


class HardBank(NamedTuple):
    """What `lookup` needs besides its input."""

    wiring: Wiring
    table: Tensor
    slope: Tensor | None


class LearnedBank(NamedTuple):
    """What `learned_lookup` needs besides its input."""

    logits: Tensor
    table: Tensor
    slope: Tensor
    candidates: Tensor | None
    placements: Placements
    tau: float


class Maximum(NamedTuple):
    """What `maximum` needs besides its input."""

    wiring: Wiring
    least: bool


Bank = HardBank | LearnedBank | Maximum


class Spread(NamedTuple):
    """The inputs over which a wiring that learns spreads a gradient, and the temperature at which it does."""

    candidates: Tensor | None
    tau: float


class Plan(NamedTuple):
    """Banks that read the inputs of an operation and each other.

    Values are numbered: first the inputs, then what each bank gives.

    Attributes:
        reads: The wiring of each bank.
        widths: Features of each value.
        least: Of each bank that is a `Maximum`, whether it takes the smallest; None of one with tables.
        spreads: Of each bank whose wiring learns; None of the others.
        sources: The numbers of what each bank reads side by side.
        outputs: The numbers of the banks whose outputs are returned.
        groups: Stretches of the last bank's outputs, each of which is summed; None where they are returned.
        tau: What divides these sums.
    """

    reads: Sequence[PlacedWiring]
    widths: Sequence[int]
    least: Sequence[bool | None]
    spreads: Sequence[Spread | None]
    sources: Sequence[Sequence[int]]
    outputs: Sequence[int]
    groups: int | None
    tau: float
