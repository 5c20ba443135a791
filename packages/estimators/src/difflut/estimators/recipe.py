"""The default size and training of a network, which follow from the numbers of rows, features and classes."""

import math
from dataclasses import dataclass, replace
from typing import Self

# Temperatures, as multiples of the square root of the votes. At a high one every row has a gradient, which copes with
# noise in the labels; at a low one only rows that are still classed wrong have one.
HIGH_TAU, LOW_TAU = 2.8, 1.0
CLASSES_OF_HIGH_TAU = 6  # where there are more, a logit has more others to exceed, and the high temperature is lower
# First learning rates. Tables that start as a forest stay near it at the low one.
LOW_RATE, HIGH_RATE = 0.02, 0.05
STEPS_TO_COMPARE = 64  # of a comparison, within six and twelve epochs
MOST_STEPS = 2000  # of a training on many rows, which has at least ten epochs all the same


@dataclass(frozen=True)
class Recipe:
    """What a classifier trains with.

    Attributes:
        votes: Tables of each class.
        num_bits: Thresholds of each feature.
        candidates: Bits among which each input of a table chooses.
        trees: Trees of the forest at whose splits tables start.
        explores: Whether every second table starts at random, and tables choose their inputs in the first half of the
            epochs. Otherwise all start as parts of the forest, and keep the splits that they read.
        epochs: Passes over the rows.
        batch_size: Rows in a step.
        learning_rate: Learning rate of the first step; it falls along half a cosine.
        tau: Temperature: votes divided by it are logits.
        validation_rows: Rows held out to choose the best epoch; with 0 the last epoch is taken.
    """

    votes: int
    num_bits: int
    candidates: int
    trees: int
    explores: bool
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

    def with_votes(self, votes: int) -> Self:
        """The recipe with so many tables of each class, as confident."""
        return replace(self, votes=votes, tau=self.tau * math.sqrt(votes / self.votes))

    def exploring(self) -> Self:
        """The recipe for a function with little noise, which is followed as far as the tables can."""
        return replace(self, explores=True, learning_rate=HIGH_RATE).with_tau(LOW_TAU)

    @property
    def wiring_epochs(self) -> int:
        """The first half of the epochs, in which tables that explore choose their inputs; then they keep them.

        Choosing takes most of the time of a step, and only one choice in twenty would still change later.
        """
        return -(-self.epochs // 2) if self.explores else 0

    def shortened(self, rows: int) -> Self:
        """A recipe for a comparison on so many rows, as confident: a third of the votes and trees, and fewer epochs.

        Six epochs of few rows are too few steps for tables that start at random, so there are up to twelve.
        """
        epochs = min(self.epochs, max(6, min(12, STEPS_TO_COMPARE * self.batch_size // rows)))
        shortened = replace(self, trees=-(-self.trees // 3), epochs=epochs, validation_rows=0)
        return shortened.with_votes(-(-self.votes // 3))


def default_recipe(rows: int, features: int, classes: int) -> Recipe:
    """The recipe for a noisy table, found by cross-validation on many small ones; see `Recipe.exploring` for others.

    A batch is about an eighth of few rows and a sixteenth of many, within bounds: what a step costs hardly depends on a
    small batch. Where there are few features their values matter more, and they have more thresholds. Fewer rows need
    fewer votes, and many rows fewer epochs. With more features than rows, chance decides which ones a tree compares,
    and ways through it are short: then there are three times as many trees, and up to twice the votes.
    """
    votes = max(240, min(900, 2700 // classes))
    many_features = min(1, features / rows)
    batch_size = 2 ** round(math.log2(max(32, min(128, rows / 8), min(1024, rows / 16))))
    return Recipe(
        votes=max(100, round(votes * max((1 + many_features) / 3, min(1, math.sqrt(rows / 2000))))),
        num_bits=max(32, min(256, 1024 // features)),
        candidates=16,
        trees=round(32 + 68 * many_features),
        explores=False,
        epochs=max(10, min(20, MOST_STEPS * batch_size // rows)),
        batch_size=batch_size,
        learning_rate=LOW_RATE,
        tau=math.nan,
    ).with_tau(HIGH_TAU * min(1, math.sqrt(CLASSES_OF_HIGH_TAU / classes)))
