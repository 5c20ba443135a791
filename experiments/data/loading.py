"""A data set ready for training, and the function that loads one by name."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from difflut.config import configurable
from difflut.registry import DATASETS, closest
from experiments.data.files import data_folder, file_name, not_found, read_file
from experiments.data.openml import from_openml
from experiments.data.rows import DatasetNotFoundError, Rows, check_alike, check_labels, class_indices, numeric_features
from experiments.data.sources import CLASS_NAMES

_kept: dict[str, Rows] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test rows.

    Images are uint8 `(rows, *shape)` as distributed, in units of their pixels; tables are float32 `(rows, features)`.
    Labels are int64 indices into `class_names`.
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    class_names: list[str]

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.x_train.shape[1:])

    @property
    def meaning(self) -> dict[str, Any]:
        """What other data must have in common with these for the same network: type of the features, and classes."""
        return {"features": str(self.x_train.dtype).removeprefix("torch."), "classes": self.class_names}

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set on another device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.type is torch.Tensor}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


def load_dataset(
    name: str = "digits", validation_fraction: float = 0.1, seed: int = 0, cache_dir: str | None = None
) -> Dataset:
    """Loads a data set by name: one of `dataset_names()`, or `openml:ID` or `openml:NAME`.

    Args:
        validation_fraction: The share of the training rows that are kept for validation; with 0 there are none.
        seed: Seed by which those rows are drawn. The test rows do not depend on it.
        cache_dir: Folder in which fetched data sets are kept; None is scikit-learn's cache.

    Raises:
        DatasetNotFoundError: No data set has that name, or it is in no file and cannot be fetched.
        BadDatasetError: Its file is damaged, values are missing, or labels are no classes.
        ValueError: The fraction is out of range, or not 0 where the rows stay on the disk.
    """
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction must be at least 0 and below 1, got {validation_fraction}")
    rows = _rows(name, cache_dir)
    if isinstance(rows.x_train, np.memmap) and validation_fraction:
        raise ValueError(
            f"{rows.origin} stays on the disk, and without some of its rows it would not: "
            f"dataset.validation_fraction must be 0, got {validation_fraction}"
        )
    labels = np.concatenate([rows.y_train.reshape(-1), rows.y_test.reshape(-1)])
    labels, class_names = class_indices(labels, rows.class_names or CLASS_NAMES.get(name), rows.origin)
    check_labels(labels[: len(rows.x_train)], labels[len(rows.x_train) :], class_names, rows.origin)
    y, y_test = torch.from_numpy(labels.astype(np.int64)).split([len(rows.x_train), len(rows.x_test)])
    x, x_test = (
        torch.from_numpy(numeric_features(x, rows.feature_names, rows.origin)) for x in (rows.x_train, rows.x_test)
    )
    check_alike(rows.x_train, rows.x_test, rows.origin)
    train, val = _validation_split(len(x), validation_fraction, seed)
    return Dataset(name, x[train], y[train], x[val], y[val], x_test, y_test, list(class_names))


dataset = configurable("dataset")(load_dataset)


def dataset_names() -> list[str]:
    """The names of the data sets, and of the .npz files and folders of .npy files in the folder `DIFFLUT_DATA`."""
    folder = data_folder()
    files = sorted(path.stem for path in folder.glob("*.npz")) if folder else []
    files += sorted(path.parent.name for path in folder.glob("*/x_train.npy")) if folder else []
    return list(dict.fromkeys([*DATASETS, *files]))


@contextmanager
def kept_rows(rows: Mapping[str, Rows]) -> Iterator[dict[str, Rows]]:
    """Inside, each data set is read once, and those given are not read; yields all data sets given or read."""
    global _kept
    before, _kept = _kept, dict(rows)
    try:
        yield _kept
    finally:
        _kept = before


def rows_kept() -> dict[str, Rows]:
    """The data sets that are kept at present, for another process to keep them too."""
    return dict(_kept or {})


def _rows(name: str, cache_dir: str | None) -> Rows:
    if _kept is None:
        return _find(name, cache_dir)
    if name not in _kept:
        _kept[name] = _find(name, cache_dir)
    return _kept[name]


def _find(name: str, cache_dir: str | None) -> Rows:
    rows = read_file(name)
    if rows is not None:
        return rows
    try:
        if name in DATASETS:
            return DATASETS[name](cache_dir)
        if name.startswith("openml:"):
            query = name.removeprefix("openml:")
            return from_openml(name, int(query) if query.isdecimal() else query, cache_dir)
    except ModuleNotFoundError as error:
        raise not_found(name, str(error)) from error
    own = re.sub(r"\.(npz|npy|csv|tsv)$", "", name)
    raise DatasetNotFoundError(
        f"no data set is called {name!r}; {closest(name, dataset_names())}; any set of OpenML is 'openml:ID' or "
        f"'openml:NAME', and one of your own is {own!r}, the file {file_name(own)} in the folder that the environment "
        f"variable DIFFLUT_DATA names ({data_folder() or 'not set'})"
    )


def _validation_split(rows: int, fraction: float, seed: int) -> tuple[torch.Tensor, torch.Tensor] | tuple[slice, slice]:
    """The rows kept for training and those for validation, both in their order."""
    if not fraction:
        return slice(None), slice(0)  # which copies nothing
    count = min(max(round(fraction * rows), 1), rows - 1)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    return order[count:].sort().values, order[:count].sort().values
