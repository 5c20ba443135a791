"""Tables: those that come with scikit-learn, generated ones, and data sets by name."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from experiments.data import load_dataset

Rows = tuple[np.ndarray, np.ndarray]  # features (rows, columns) and class indices (rows,)
SIZES = (2, 5), (2, 12), (3, 8)  # columns of categories, and the categories of each


def tabular_sets() -> dict[str, Callable[[], Rows]]:
    """Functions that load or make the tables that need no file, by name."""
    ours = {"parity": _parity, "balance": _balance, "heavy tails": _heavy_tails}
    ours |= {f"{columns} columns of {size} categories": partial(_categories, columns, size) for columns, size in SIZES}
    return dict(_bundled()) | dict(_generated()) | ours


def loaded(name: str) -> Rows:
    """Training and test rows of a data set, one after the other; images are rows of pixels."""
    data = load_dataset(name, validation_fraction=0)
    x, y = torch.cat([data.x_train, data.x_test]), torch.cat([data.y_train, data.y_test])
    return x.flatten(1).numpy(), y.numpy()


def _bundled() -> Iterator[tuple[str, Callable[[], Rows]]]:
    from sklearn import datasets

    for name in ("iris", "wine", "breast_cancer", "digits"):
        yield name, partial(getattr(datasets, f"load_{name}"), return_X_y=True)
    yield "diabetes, 3 parts", partial(_parts, partial(datasets.load_diabetes, return_X_y=True))


def _generated() -> Iterator[tuple[str, Callable[[], Rows]]]:
    from sklearn import datasets

    classification = partial(datasets.make_classification, random_state=0)
    yield "classification, 60 rows", partial(classification, 60, 5, n_informative=3)
    yield "classification, 200 columns", partial(classification, 2000, 200, n_informative=20)
    yield (
        "classification, 12 classes",
        partial(classification, 2400, 15, n_informative=10, n_classes=12, n_clusters_per_class=1),
    )
    yield "classification, noise", partial(classification, 1000, 10, n_informative=6, flip_y=0.2)
    yield "classification, imbalance", partial(classification, 3000, 10, n_informative=5, weights=[0.95])
    yield "moons", partial(datasets.make_moons, 500, noise=0.3, random_state=0)
    yield "gaussian quantiles", partial(datasets.make_gaussian_quantiles, n_samples=1500, n_features=6, random_state=6)
    yield "hastie", partial(datasets.make_hastie_10_2, 3000, random_state=0)
    yield "friedman1, 3 parts", partial(_parts, partial(datasets.make_friedman1, 1200, noise=1.0, random_state=0))


def _parts(make: Callable[[], Rows]) -> Rows:
    """A number to predict, as its three equally frequent parts."""
    x, target = make()
    return x, np.digitize(target, np.quantile(target, [1 / 3, 2 / 3]))


def _parity() -> Rows:
    x = np.random.default_rng(0).integers(0, 2, (600, 8))
    return x, x[:, :4].sum(1) % 2


def _balance() -> Rows:
    x = np.indices((5, 5, 5, 5)).reshape(4, -1).T + 1
    return x, np.sign(x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3]) + 1


def _categories(columns: int, size: int) -> Rows:
    """A chance of the class for each row of categories, of which each is a column of 0 and 1."""
    random = np.random.default_rng(0)
    codes = random.integers(0, size, (4000, columns))
    chance = random.random((size,) * columns)[tuple(codes.T)]
    return np.eye(size)[codes].reshape(len(codes), -1), (random.random(len(codes)) < chance).astype(int)


def _heavy_tails() -> Rows:
    random = np.random.default_rng(0)
    x = random.normal(size=(1200, 8))
    y = x[:, 0] * np.sign(x[:, 1]) + x[:, 2] + random.normal(size=1200) / 2 > 0
    return np.exp(2.5 * x), y.astype(int)
