"""The data sets that have a name."""

from collections.abc import Callable

import numpy as np

from difflut.registry import register_dataset
from experiments.data.openml import from_openml, split_rows
from experiments.data.rows import Rows

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


@register_dataset("digits")
def digits(cache_dir: str | None) -> Rows:
    """1797 handwritten digits of 8x8 pixels, 0 to 16; scikit-learn holds them, so they are always there."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    train, test = split_rows(bunch.target)
    x, y = bunch.images.astype(np.uint8), bunch.target
    return Rows("data set 'digits' (scikit-learn)", x[train], y[train], x[test], y[test])


@register_dataset("mnist")
def mnist(cache_dir: str | None) -> Rows:
    """70,000 handwritten digits of 28x28 pixels, 60,000 of them for training."""
    return from_openml("mnist", 554, cache_dir, train_rows=60_000, arrange=_gray_images)


@register_dataset("fashion_mnist")
def fashion_mnist(cache_dir: str | None) -> Rows:
    """70,000 pictures of clothes of 28x28 pixels, 60,000 of them for training."""
    names = CLASS_NAMES["fashion_mnist"]
    return from_openml("fashion_mnist", 40996, cache_dir, train_rows=60_000, arrange=_gray_images, class_names=names)


@register_dataset("cifar10")
def cifar10(cache_dir: str | None) -> Rows:
    """60,000 photographs of 32x32 pixels in three colours, 50,000 of them for training."""
    names = CLASS_NAMES["cifar10"]
    return from_openml("cifar10", 40927, cache_dir, train_rows=50_000, arrange=_color_images, class_names=names)


@register_dataset("jsc_openml")
def jsc_openml(cache_dir: str | None) -> Rows:
    """Jet substructure classification: 830,000 jets, 16 features, 5 classes; the split of the hls4ml tutorial."""
    return from_openml("jsc_openml", 42468, cache_dir, stratify=False)


def _table(name: str, number: int) -> Callable[[str | None], Rows]:
    def source(cache_dir: str | None) -> Rows:
        return from_openml(name, number, cache_dir)

    source.__qualname__ = name
    source.__doc__ = f"A table of OpenML, number {number}."
    return source


for _name, _number in TABULAR.items():
    register_dataset(_name)(_table(_name, _number))


def _gray_images(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, 28, 28).astype(np.uint8)


def _color_images(x: np.ndarray) -> np.ndarray:
    # A row holds all of red, then green, then blue.
    return x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.uint8)
