"""A network made for a table and trained on it."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.encoders import Encoder, MidpointThermometer
from difflut.estimators.recipe import HIGH_TAU, LOW_TAU, Recipe
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


@dataclass(frozen=True)
class Table:
    """Rows to train on.

    Attributes:
        x: Features `(rows, features)`, float32; NaN is a missing value.
        y: Class indices `(rows,)`.
        class_weights: Weight of each class in the loss and in scores: `(classes,)`.
    """

    x: np.ndarray
    y: np.ndarray
    class_weights: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Table":
        return Table(self.x[chosen], self.y[chosen], self.class_weights)

    def right(self, network: LUTNetwork) -> np.ndarray:
        """The weight of each row that the hard network classifies correctly, and 0 for other rows: `(rows,)`."""
        return (predict(network, torch.from_numpy(self.x)).numpy() == self.y) * self.class_weights[self.y]

    def score(self, network: LUTNetwork) -> float:
        """The weighted share of rows that the hard network classifies correctly."""
        return float(self.right(network).sum() / self.class_weights[self.y].sum())


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

    def fit(self, table: Table, recipe: Recipe) -> tuple[LUTNetwork, list[dict[str, Any]]]:
        """The trained network, and the metrics of all epochs.

        The network is that of the last epoch or, where rows are held out, of the best one (the last of equally good).
        """
        order = np.random.default_rng(self.seed).permutation(len(table.y))
        held_out, training = table.rows(order[: recipe.validation_rows]), table.rows(order[recipe.validation_rows :])
        network = self.make_network(training, recipe)
        trainer = Trainer(
            network,
            torch.from_numpy(training.x),
            torch.from_numpy(training.y),
            batch_size=recipe.batch_size,
            optimizer=partial(adam, lr=recipe.learning_rate),
            schedule=partial(cosine, epochs=recipe.epochs),
            loss=partial(F.cross_entropy, weight=torch.from_numpy(table.class_weights).float()),
            seed=self.seed,
        )
        history, best = [], None
        for epoch in range(recipe.epochs):
            network.layers[0].logits.requires_grad_(epoch < recipe.wiring_epochs)
            history.append(trainer.run_epoch())
            if recipe.validation_rows:
                history[-1]["validation_accuracy"] = score = held_out.score(network)
                if best is None or score >= best[0]:
                    best = score, deepcopy(network.state_dict())
        if best is not None:
            network.load_state_dict(best[1])
        return network.requires_grad_().eval(), history

    def make_network(self, table: Table, recipe: Recipe) -> LUTNetwork:
        """A network of one layer whose tables choose among the bits that differ on the training rows."""
        encoder = MidpointThermometer(recipe.num_bits).fit(_without_missing(table.x))
        bits, classes = distinct_bits(encoder), len(table.class_weights)
        n, candidates, width = min(self.n, len(bits)), min(recipe.candidates, len(bits)), recipe.votes * classes
        learnable = REGISTRY.get_layer("learnable")
        layer = learnable(encoder.output_size, width, self.node_type, n, top_k=candidates, seed=self.seed)
        layer.candidates.copy_(bits[random_wiring(len(bits), width * n, candidates, layer.generator())])
        return LUTNetwork(encoder, [layer], GroupSum(classes, recipe.tau))

    def choose_tau(self, table: Table, recipe: Recipe) -> Recipe:
        """The recipe at the low temperature if that classifies more held-out rows correctly, else at the high one.

        The low one must be better by more than one standard deviation of chance. A third of the rows is held out; of a
        large table, a third of a sample. Where there are fewer than 300 rows, each third is held out once.
        """
        gain, short = np.zeros(0), recipe.shortened()
        for training, held_out in self._splits(table):
            high, low = (held_out.right(self.fit(training, short.with_tau(tau))[0]) for tau in (HIGH_TAU, LOW_TAU))
            gain = np.append(gain, low - high)
        return recipe.with_tau(LOW_TAU if gain.sum() > np.sqrt((gain**2).sum()) else HIGH_TAU)

    def _splits(self, table: Table) -> Iterator[tuple[Table, Table]]:
        order = np.random.default_rng(self.seed).permutation(len(table.y))[:ROWS_TO_COMPARE]
        # Rows are sorted by class and dealt to the parts in turn, so that each part has its share of every class.
        order = order[np.argsort(table.y[order], kind="stable")]
        part = np.arange(len(order)) % FOLDS
        for number in range(FOLDS if len(order) < ROWS_TO_FOLD else 1):
            yield table.rows(order[part != number]), table.rows(order[part == number])


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
