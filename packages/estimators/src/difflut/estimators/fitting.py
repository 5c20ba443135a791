"""A network made for a table and trained on it."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.encoders import Encoder, MidpointThermometer
from difflut.estimators.forest import Forest, forest_splits, grow_forest, set_thresholds, votes_of_rows
from difflut.estimators.recipe import Recipe
from difflut.layers import GroupSum
from difflut.layers.wiring import random_wiring
from difflut.models import LUTNetwork
from difflut.nodes import Node
from difflut.registry import REGISTRY
from difflut.training import Trainer, predict
from difflut.training.schedules import adam, cosine

FOLDS = 3
ROWS_TO_FOLD = 300  # with fewer rows, a third of them is too few for a comparison, so each third is held out once
ROWS_TO_COMPARE = 4000  # most rows on which temperatures are compared, to save time
SETTLED_LOSS = 0.002  # an epoch's mean loss below which more epochs would change nothing: every row is classed surely


@dataclass(frozen=True)
class Table:
    """Rows to train on.

    Attributes:
        x: Features `(rows, features)`, float32; NaN is a missing value.
        y: Class indices `(rows,)`.
        weights: Weight of each row in the loss, in votes and in scores: `(rows,)`.
        classes: Number of classes.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    classes: int

    def rows(self, chosen: np.ndarray) -> "Table":
        return replace(self, x=self.x[chosen], y=self.y[chosen], weights=self.weights[chosen])

    def in_order(self) -> "Table":
        """The table with its rows sorted, so that what is drawn from a seed does not depend on how they came."""
        x = np.where(np.isnan(self.x), np.float32(np.nan), self.x + np.float32(0))  # one NaN, and one zero
        keys = np.column_stack([x, self.y, self.weights]).astype(np.float32)
        return self.rows(np.argsort(keys.view(f"V{keys.strides[0]}")[:, 0]))

    def right(self, network: LUTNetwork) -> np.ndarray:
        """The weight of each row that the hard network classifies correctly, and 0 for other rows: `(rows,)`."""
        return (predict(network, torch.from_numpy(self.x)).numpy() == self.y) * self.weights

    def score(self, network: LUTNetwork) -> float:
        """The weighted share of rows that the hard network classifies correctly."""
        return float(self.right(network).sum() / self.weights.sum())


@dataclass(frozen=True)
class Fitter:
    """Makes and trains networks for tables of one kind.

    Attributes:
        node_type: Function that makes the nodes.
        n: Inputs of a table; fewer where there are fewer bits.
        seed: Seed of everything that is drawn.
    """

    node_type: Callable[..., Node]
    n: int
    seed: int

    def fit(
        self, table: Table, recipe: Recipe, forest: Forest | None = None
    ) -> tuple[LUTNetwork, list[dict[str, Any]]]:
        """The trained network, and the metrics of all epochs.

        The network is that of the last epoch or, where rows are held out, of the best one (the last of equally good).
        Training ends after half of the epochs where there is no loss left. Without a forest of the rows that are
        trained on, one is grown.
        """
        order = np.random.default_rng(self.seed).permutation(len(table.y))
        held_out, training = table.rows(order[: recipe.validation_rows]), table.rows(order[recipe.validation_rows :])
        network = self.make_network(training, recipe, forest or self.grow(training, recipe))
        trainer = Trainer(
            network,
            torch.from_numpy(training.x),
            torch.from_numpy(training.y),
            batch_size=recipe.batch_size,
            optimizer=partial(adam, lr=recipe.learning_rate),
            schedule=partial(cosine, epochs=recipe.epochs),
            loss=weighted_cross_entropy,
            seed=self.seed,
            graph=True,
            wiring_epochs=recipe.wiring_epochs,
            weights=torch.from_numpy(training.weights / training.weights.mean()).float(),
        )
        history: list[dict[str, Any]] = []
        best = None
        while len(history) < recipe.epochs:
            history.append(trainer.run_epoch())
            if recipe.validation_rows:
                history[-1]["validation_accuracy"] = score = held_out.score(network)
                if best is None or score >= best[0]:
                    best = score, deepcopy(network.state_dict())
            if 2 * len(history) >= recipe.epochs and history[-1]["train_loss"] < SETTLED_LOSS:
                break
        if best is not None:
            network.load_state_dict(best[1])
        return network.requires_grad_().eval(), history

    def grow(self, table: Table, recipe: Recipe) -> Forest:
        return grow_forest(table.x, table.y, table.weights, recipe.trees, self.seed)

    def make_network(self, table: Table, recipe: Recipe, forest: Forest) -> LUTNetwork:
        """A network of one layer whose tables choose among the bits that differ on the training rows.

        A table that begins as part of a forest reads successive splits, and votes as the rows there do.
        """
        known, classes = _without_missing(table.x), table.classes
        width, every = recipe.votes * classes, 2 if recipe.explores else 1
        needed = differing(known).clip(max=recipe.num_bits)
        n = min(self.n, max(1, int(needed.sum())))
        own_class = np.arange(0, width, every) // recipe.votes
        splits = forest_splits(forest, table.x, table.y, own_class, n, self.seed)
        # Columns of categories need one threshold; further ones would only repeat it.
        num_bits = min(recipe.num_bits, max(1, int(needed.max()), splits.most_thresholds()))
        encoder = MidpointThermometer(num_bits).fit(known)
        begun, begins = torch.full((width, n), -1), torch.arange(width) % every == 0
        begun[begins] = set_thresholds(encoder, splits)
        bits = distinct_bits(encoder)
        candidates, learnable = min(recipe.candidates, len(bits)), REGISTRY.get_layer("learnable")
        layer = learnable(encoder.output_size, width, self.node_type, n, top_k=candidates, seed=self.seed)
        drawn = bits[random_wiring(len(bits), width * n, candidates, layer.generator())]
        drawn[:, 0] = torch.where(begun.flatten() < 0, drawn[:, 0], begun.flatten())
        layer.candidates.copy_(drawn)
        wiring = torch.where(begun < 0, layer.wiring(), begun)
        layer.load_wiring(wiring)
        read, y = encoder(torch.from_numpy(table.x)), torch.from_numpy(table.y)
        tables = votes_of_rows(read, y, torch.from_numpy(table.weights), wiring, classes, self.seed)
        layer.node.load_table(torch.where(begins[:, None, None], tables, layer.soft_table().detach()))
        return LUTNetwork(encoder, [layer], GroupSum(classes, recipe.tau))

    def choose(self, table: Table, recipes: tuple[Recipe, Recipe]) -> Recipe:
        """The second recipe if it classifies more held-out rows correctly than the first, else the first.

        It must be better by more than half a standard deviation of chance. A third of the rows is held out; of a large
        table, a third of a sample. Where there are fewer than 300 rows, each third is held out once; the last one only
        if the second recipe is not behind by then.
        """
        gain = np.zeros(0)
        for number, (training, held_out) in enumerate(self._splits(table)):
            if number == FOLDS - 1 and gain.sum() < 0:
                break
            first, second = (recipe.shortened(len(training.y)) for recipe in recipes)
            forest = self.grow(training, first)  # both have equally many trees
            right = held_out.right(self.fit(training, first, forest)[0])
            if right.sum() < held_out.weights.sum():  # else nothing is better
                gain = np.append(gain, held_out.right(self.fit(training, second, forest)[0]) - right)
        return recipes[bool(gain.sum() > np.sqrt((gain**2).sum()) / 2)]

    def _splits(self, table: Table) -> Iterator[tuple[Table, Table]]:
        order = np.random.default_rng(self.seed).permutation(len(table.y))[:ROWS_TO_COMPARE]
        # Rows are sorted by class and dealt to the parts in turn, so that each part has its share of every class.
        order = order[np.argsort(table.y[order], kind="stable")]
        part = np.arange(len(order)) % FOLDS
        for number in range(FOLDS if len(order) < ROWS_TO_FOLD else 1):
            yield table.rows(order[part != number]), table.rows(order[part == number])


def weighted_cross_entropy(logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """The mean over the rows of their cross entropy, each times its weight."""
    return (F.cross_entropy(logits, y, reduction="none") * weights).mean()


def differing(x: np.ndarray) -> np.ndarray:
    """How many thresholds tell all values of each feature apart: `(features,)`."""
    ascending = np.sort(x, axis=0)
    return (ascending[1:] != ascending[:-1]).sum(axis=0)


def distinct_bits(encoder: Encoder) -> Tensor:
    """The bits of a thermometer that differ from the one before them, at least one: `(bits,)` indices."""
    repeated = encoder.thresholds[:, 1:] == encoder.thresholds[:, :-1]
    first = torch.cat([torch.ones(len(repeated), 1, dtype=torch.bool), ~repeated], dim=1)
    return first.flatten().nonzero().flatten()


def _without_missing(x: np.ndarray) -> np.ndarray:
    """Replaces each missing value by the median of its feature, so that thresholds lie between known values."""
    absent = np.isnan(x)
    if not absent.any():
        return x
    known = np.where(absent.all(0), np.float32(0), x)
    return np.where(np.isnan(known), np.nanmedian(known, axis=0), known).astype(np.float32)
