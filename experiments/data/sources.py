"""The data sets that have a name."""

from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.data.openml import from_openml, split_rows
from experiments.data.rows import Rows

DATASETS: dict[str, Callable[[str | None], Rows]] = {}

CLASS_NAMES = {
    "fashion_mnist": [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}

TABULAR = {
    "australian": 40981,
    "blood_transfusion": 1464,
    "christine": 41142,
    "jasmine": 41143,
    "miniboone": 41150,
    "nomao": 1486,
    "phoneme": 1489,
    "segment": 40984,
    "skin_seg": 1502,
    "sylvine": 41146,
}


def dataset(name: str) -> Callable[[Callable[[str | None], Rows]], Callable[[str | None], Rows]]:
    """A decorator that enters a function under a data set's name; it is given the cache folder and returns the rows."""

    def enter(source: Callable[[str | None], Rows]) -> Callable[[str | None], Rows]:
        if name in DATASETS:
            raise ValueError(f"a data set is already called {name!r}; choose another name")
        DATASETS[name] = source
        return source

    return enter


@dataset("digits")
def digits(cache_dir: str | None) -> Rows:
    """1797 handwritten digits of 8x8 pixels, 0 to 16; scikit-learn holds them, so they are always there."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    train, test = split_rows(bunch.target)
    x, y = bunch.images.astype(np.uint8), bunch.target
    return Rows("data set 'digits' (scikit-learn)", x[train], y[train], x[test], y[test])


@dataset("mnist")
def mnist(cache_dir: str | None) -> Rows:
    """70,000 handwritten digits of 28x28 pixels, 60,000 of them for training."""
    return from_openml("mnist", 554, cache_dir, train_rows=60_000, arrange=_gray_images)


@dataset("fashion_mnist")
def fashion_mnist(cache_dir: str | None) -> Rows:
    """70,000 pictures of clothes of 28x28 pixels, 60,000 of them for training."""
    names = CLASS_NAMES["fashion_mnist"]
    return from_openml("fashion_mnist", 40996, cache_dir, train_rows=60_000, arrange=_gray_images, class_names=names)


@dataset("cifar10")
def cifar10(cache_dir: str | None) -> Rows:
    """60,000 photographs of 32x32 pixels in three colours, 50,000 of them for training."""
    names = CLASS_NAMES["cifar10"]
    return from_openml("cifar10", 40927, cache_dir, train_rows=50_000, arrange=_color_images, class_names=names)


@dataset("jsc_openml")
def jsc_openml(cache_dir: str | None) -> Rows:
    """Jet substructure classification: 830,000 jets, 16 features, 5 classes; the split of the hls4ml tutorial."""
    return from_openml("jsc_openml", 42468, cache_dir, stratify=False)


for _name, _id in TABULAR.items():
    dataset(_name)(partial(from_openml, _name, _id))


def _gray_images(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, 28, 28).astype(np.uint8)


def _color_images(x: np.ndarray) -> np.ndarray:
    # A row holds all of red, then green, then blue.
    return x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.uint8)
