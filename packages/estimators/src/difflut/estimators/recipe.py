"""The default size and training of a network, which follow from the numbers of rows, features and classes."""

import math
from dataclasses import dataclass, replace
from typing import Self

# Temperatures, as multiples of the square root of the votes. At a high one every row has a gradient, which copes with
# noise in the labels; at a low one only rows that are still classed wrong have one.
HIGH_TAU, LOW_TAU = 2.8, 1.0
MOST_STEPS = 2000  # of a training on many rows, which has at least ten epochs all the same


@dataclass(frozen=True)
class Recipe:
    """What a classifier trains with.

    Attributes:
        votes: Tables of each class.
        num_bits: Thresholds of each feature.
        candidates: Bits among which each input of a table chooses.
        epochs: Passes over the rows.
        batch_size: Rows in a step.
        learning_rate: Learning rate of the first step; it falls along half a cosine.
        tau: Temperature: votes divided by it are logits.
        validation_rows: Rows held out to choose the best epoch; with 0 the last epoch is taken.
    """

    votes: int
    num_bits: int
    candidates: int
    epochs: int
    batch_size: int
    learning_rate: float
    tau: float
    validation_rows: int = 0

    def with_tau(self, factor: float) -> Self:
        """The recipe at a multiple of the square root of the votes.

        The spread of a sum of votes grows as their square root. So networks of any width are equally confident.
        """
        return replace(self, tau=factor * math.sqrt(self.votes))

    @property
    def wiring_epochs(self) -> int:
        """The first half of the epochs, in which tables choose their inputs; then they keep them.

        Choosing takes most of the time of a step, and only one choice in twenty would still change later.
        """
        return -(-self.epochs // 2)

    def shortened(self) -> Self:
        """A recipe for a comparison of temperatures: a third of the votes, and six epochs."""
        return replace(self, votes=-(-self.votes // 3), epochs=min(self.epochs, 6), validation_rows=0)


def default_recipe(rows: int, features: int, classes: int) -> Recipe:
    """The recipe for a table, found by cross-validation on many small ones.

    A batch is about an eighth of the rows, within bounds: what a step costs hardly depends on a small batch. Where
    there are few features their values matter more, and they have more thresholds. Fewer rows need fewer votes, and
    many rows fewer epochs.
    """
    votes, batch_size = max(100, min(900, 2700 // classes)), 2 ** round(math.log2(max(32, min(1024, rows / 8))))
    return Recipe(
        votes=max(100, round(votes * max(1 / 3, min(1, math.sqrt(rows / 2000))))),
        num_bits=64 if features <= 16 else 32,
        candidates=64,
        epochs=max(10, min(20, MOST_STEPS * batch_size // rows)),
        batch_size=batch_size,
        learning_rate=0.05,
        tau=math.nan,
    ).with_tau(HIGH_TAU)
