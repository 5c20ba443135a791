"""Data sets from OpenML, fetched by scikit-learn and kept as .npz files beside its own cache."""

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.files import file_name, not_found, read_npz
from experiments.data.rows import BadDatasetError, Rows, check_finite, class_indices

TEST_SHARE, TEST_SEED = 0.2, 42


def from_openml(
    name: str,
    query: int | str,
    cache_dir: str | None,
    *,
    train_rows: int | None = None,
    arrange: Callable[[np.ndarray], np.ndarray] | None = None,
    class_names: Sequence[str] | None = None,
    stratify: bool = True,
) -> Rows:
    """The rows of an OpenML data set; the second time they come from the cache.

    Args:
        query: OpenML's id of the data set, or its name there.
        cache_dir: The cache folder; None is scikit-learn's, `~/scikit_learn_data` or `SCIKIT_LEARN_DATA`.
        train_rows: The first so many rows are the published training set. Without it 20 % become test rows.
        arrange: Turns the table into images.
        stratify: Whether the test rows have the same share of each class.

    Raises:
        DatasetNotFoundError: It is neither in the cache nor can it be fetched.
    """
    from sklearn.datasets import get_data_home

    home = get_data_home(cache_dir)
    cached = Path(home, "difflut", file_name(name))
    if not cached.is_file():
        origin = f"data set {name!r} (OpenML {query})"
        bunch = _fetch(name, query, home)
        x, feature_names = _table(bunch, origin)
        target = np.asarray(bunch.target)
        if target.shape != (len(x),):
            raise BadDatasetError(f"{origin}: its target has shape {target.shape}; it must be one column of classes")
        y, class_names = class_indices(target, class_names, origin)
        train, test = split_rows(y, stratify) if train_rows is None else np.split(np.arange(len(y)), [train_rows])
        if arrange:
            x, feature_names = arrange(x), []
        arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
        names = {"class_names": class_names} | ({"feature_names": feature_names} if feature_names else {})
        _save(cached, **arrays, **names)
    return read_npz(name, cached)


def split_rows(y: np.ndarray, stratify: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows where no split is published; a class of less than five rows rules out stratification."""
    from sklearn.model_selection import train_test_split

    strata = y if stratify and np.unique(y, return_counts=True)[1].min() >= 5 else None
    return train_test_split(np.arange(len(y)), test_size=TEST_SHARE, random_state=TEST_SEED, stratify=strata)


def _fetch(name: str, query: int | str, home: str) -> Any:
    from sklearn.datasets import fetch_openml

    print(f"fetching data set {name!r} from OpenML, once; a large one takes minutes", flush=True)
    selector = {"data_id": query} if isinstance(query, int) else {"name": query}
    try:
        with _time_limit(seconds=30), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A network error occurred")  # the error says so
            # This parser needs no pandas, and encodes categories as numbers.
            return fetch_openml(**selector, as_frame=False, parser="liac-arff", data_home=home, n_retries=1)
    except OSError as error:
        raise not_found(name, f"OpenML {query} was not fetched ({error}); this needs network access") from error
    except ValueError as error:
        if "STRING" not in str(error):
            raise not_found(name, f"OpenML has no {query} that can be used ({error})") from error
        raise BadDatasetError(
            f"data set {name!r} (OpenML {query}) has columns of text, which are no features ({error}); leave them out, "
            f"and put the rest under DIFFLUT_DATA as {file_name(name)}"
        ) from error


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    # scikit-learn sets no timeout, and behind a firewall a connection may never be answered.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _table(bunch: Any, origin: str) -> tuple[np.ndarray, list[str]]:
    """The features with categories as columns of 0 and 1, and the names of the columns."""
    x = bunch.data.toarray() if hasattr(bunch.data, "toarray") else np.asarray(bunch.data, np.float64)
    check_finite(x, bunch.feature_names, origin)
    columns, names = [], []
    for index, feature in enumerate(bunch.feature_names):
        values = (bunch.categories or {}).get(feature)
        if values is None or len(values) <= 2:
            columns.append(x[:, index])
            names.append(feature)
        else:
            columns += [x[:, index] == code for code in range(len(values))]
            names += [f"{feature}={value}" for value in values]
    return np.stack(columns, axis=1, dtype=np.float32, casting="same_kind"), names


def _save(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several jobs may fetch the same set at once; each file appears complete or not at all.
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(partial, **arrays)
    partial.replace(path)
