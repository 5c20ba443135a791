"""Where tables start: at the splits of a random forest, voting as it does."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from difflut import kernels
from difflut.encoders import Encoder

MOST_LOOKUPS = 2**21  # rows times tables on which votes are counted; four times as many give no better networks


@dataclass(frozen=True)
class Splits:
    """Comparisons `feature > threshold`, one for each pin of a table; both `(tables, n)`.

    Attributes:
        feature: The feature of each comparison, -1 where there is none.
        threshold: Its threshold in float32.
    """

    feature: np.ndarray
    threshold: np.ndarray

    def most_thresholds(self) -> int:
        """The number of different thresholds of the feature that has most of them."""
        present = self.feature >= 0
        pairs = np.unique(np.stack([self.feature[present], self.threshold[present]], axis=1), axis=0)
        return int(np.bincount(pairs[:, 0].astype(int), minlength=1).max())


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees.

    Attributes:
        feature: The feature that each node compares, negative at a leaf: `(nodes,)`.
        threshold: Its threshold: `(nodes,)`.
        children: The nodes behind a value that does not exceed the threshold, and behind one that does: `(nodes, 2)`.
        roots: The first node of each tree: `(trees,)`.
    """

    feature: np.ndarray
    threshold: np.ndarray
    children: np.ndarray
    roots: np.ndarray


def grow_forest(x: np.ndarray, y: np.ndarray, weights: np.ndarray, trees: int, seed: int) -> Forest:
    """A random forest of these rows, as scikit-learn grows it; a missing value is below all others.

    Args:
        x: Features `(rows, features)`, float32.
        y: Class indices `(rows,)`.
        weights: Weight of each row: `(rows,)`.
        trees: Number of trees.
        seed: Seed of the forest.
    """
    with warnings.catch_warnings(action="ignore"):  # each tree would warn again that there are many classes
        forest = RandomForestClassifier(trees, random_state=seed).fit(_missing_as_lowest(x), y, weights)
    structures = [tree.tree_ for tree in forest.estimators_]
    roots = np.cumsum([0] + [tree.node_count for tree in structures[:-1]])
    children = [
        np.stack([tree.children_left, tree.children_right], axis=1) + root
        for tree, root in zip(structures, roots, strict=True)
    ]
    return Forest(
        np.concatenate([tree.feature for tree in structures]),
        np.concatenate([tree.threshold for tree in structures]),
        np.concatenate(children),
        roots,
    )


def forest_splits(forest: Forest, x: np.ndarray, y: np.ndarray, own_class: np.ndarray, n: int, seed: int) -> Splits:
    """For each table n successive splits on the way that a row of its class takes through a tree.

    Trees find which comparisons matter together, also where none of them alone tells the classes apart. Tables take
    trees in turn, a row of their class at random, whose way tells it from the others, and a stretch of its way at
    random, so that splits near the root and near the leaves are both read. A shorter way is taken as a whole.

    Args:
        forest: The trees.
        x: Features `(rows, features)`, float32, of the rows that the trees know.
        y: Class indices `(rows,)`.
        own_class: The class for which each table votes: `(tables,)`.
        n: Inputs of a table.
        seed: Seed of the rows and the stretches.
    """
    x, feature, threshold, children = _missing_as_lowest(x), forest.feature, forest.threshold, forest.children
    generator, tables = np.random.default_rng(seed), len(own_class)
    node = forest.roots[np.arange(tables) % len(forest.roots)]
    row = _rows_of(own_class, y, generator)
    way = []
    while (feature[node] >= 0).any():
        split = feature[node] >= 0
        way.append(np.where(split, node, -1))
        above = x[row, np.maximum(feature[node], 0)] > threshold[node]
        node = np.where(split, children[node, above.astype(int)], node)
    ways = np.stack([*way, *[np.full(tables, -1)] * n], axis=1)
    length = (ways >= 0).sum(axis=1)
    start = (generator.random(tables) * np.maximum(length - n + 1, 1)).astype(int)
    chosen = np.take_along_axis(ways, start[:, None] + np.arange(n), axis=1)
    exact = threshold[chosen]
    rounded = exact.astype(np.float32)
    # Rounded up, a threshold might reach the value above it, which must exceed it.
    rounded = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return Splits(np.where(chosen >= 0, feature[chosen], -1), rounded)


def _missing_as_lowest(x: np.ndarray) -> np.ndarray:
    missing = np.isnan(x)
    if not missing.any():
        return x
    x = np.where(missing, np.where(missing, np.float32(np.inf), x).min(0), x)
    x[:, missing.all(0)] = 0
    return x


def _rows_of(classes: np.ndarray, y: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A row at random of each class; a class without rows gets one of another: `(classes,)`."""
    by_class, count = np.argsort(y, kind="stable"), np.bincount(y, minlength=classes.max() + 1)
    chosen = (np.cumsum(count) - count)[classes] + (generator.random(len(classes)) * count[classes]).astype(int)
    return by_class[np.minimum(chosen, len(y) - 1)]


def set_thresholds(encoder: Encoder, splits: Splits) -> Tensor:
    """Moves a thermometer's thresholds to those of the splits, and finds the bit of each split.

    Where a feature has more of them than bits they are quantiles of its splits, and a split is the nearest of these. A
    feature without splits keeps its thresholds.

    Returns:
        The position among the bits `(tables, n)`, -1 where there is no split.
    """
    thresholds, num_bits = encoder.thresholds.numpy(), encoder.num_bits
    fractions = (np.arange(num_bits) + 0.5) / num_bits
    for feature in np.unique(splits.feature[splits.feature >= 0]):
        found = splits.threshold[splits.feature == feature]
        distinct = np.unique(found)
        if len(distinct) > num_bits:
            distinct = np.quantile(found, fractions, method="nearest")
        thresholds[feature] = np.pad(distinct, (0, num_bits - len(distinct)), mode="edge")
    nearest = np.abs(thresholds[splits.feature] - splits.threshold[..., None]).argmin(-1)
    return torch.from_numpy(np.where(splits.feature >= 0, splits.feature * num_bits + nearest, -1))


def weights_at_addresses(bits: Tensor, wiring: Tensor, weights: Tensor) -> Tensor:
    """Sums of weights of the rows at each address of each table: `(tables, m, 2**n)`, float32.

    Args:
        bits: Bits of the rows: `(rows, bits)`.
        wiring: Bits that each table reads: `(tables, n)`.
        weights: m weights of each row at each table: `(tables, m, rows)`, float32.
    """
    tables, sums, _ = weights.shape
    table = torch.zeros(tables, sums, 2 ** wiring.shape[1], requires_grad=True)
    # The gradient of an entry of a table is the sum of what comes from the rows at its address.
    return torch.autograd.grad(kernels.lookup(bits, wiring, table), table, weights.flatten(0, 1).t())[0]


def votes_of_rows(bits: Tensor, y: Tensor, weights: Tensor, wiring: Tensor, classes: int, seed: int) -> Tensor:
    """Tables that vote together as a forest does: `(tables, 1, 2**n)` in [0, 1], to be rounded at one half.

    A table knows the share of its class among the rows at each address. It votes where this exceeds a level of its own,
    and the levels of a class's tables are spread over [0, 1]: so the number of votes follows the mean of the shares.
    To the rows at an address one more is added, with the share of those that have the same bits but for the last one,
    and so on up to the share of all. So an address without rows votes as those above it in the tree do, also where
    a way was short and its table reads bits at random after it.

    Args:
        bits: Bits of the rows: `(rows, bits)`.
        y: Class indices `(rows,)`.
        weights: Weight of each row: `(rows,)`.
        wiring: Bits that each table reads, in the order of its way, tables of class 0 first: `(tables, n)`.
        classes: Number of classes, of equally many tables.
        seed: Seed of the levels, and of the rows that are counted where there are too many.
    """
    tables, n = wiring.shape
    generator = torch.Generator().manual_seed(seed)
    counted = torch.randperm(len(y), generator=generator)[: max(1, MOST_LOOKUPS // tables)]
    bits, y, weights = bits[counted], y[counted], weights[counted].float()
    votes = tables // classes
    own_class = torch.arange(classes).repeat_interleave(votes)
    every = weights.expand(tables, -1)
    both = torch.stack([every, every * (y == own_class[:, None])], dim=1)
    counts = weights_at_addresses(bits, wiring, both).double()
    share = (torch.bincount(y, weights.double(), classes)[own_class] / weights.double().sum())[:, None]
    for pins in range(n + 1):
        # Addresses with equal first pins lie `2**pins` apart.
        rows, of_class = counts.view(tables, 2, -1, 1 << pins).sum(dim=2).unbind(1)
        share = (of_class + share.repeat(1, 2 if pins else 1)) / (rows + 1)
    ranks = torch.stack([torch.randperm(votes, generator=generator) for _ in range(classes)]).flatten()
    level = (ranks[:, None] + 0.5) / votes
    return (share - level + 0.5).clamp(0, 1)[:, None].float()
