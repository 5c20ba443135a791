"""The rows of a data set as arrays, and the checks that every data set passes before training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflut.encoders import check_rounding

# A rare class may be in the test rows alone; labels that begin at another number concern more rows.
MOST_STRANGE = 0.01
MOST_RATIO = 30


class DatasetNotFoundError(FileNotFoundError):
    """A data set is in no file and could not be fetched."""


class BadDatasetError(ValueError):
    """A data set was found and cannot be used as it is."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The training and test rows of a data set, as their source splits them.

    Args:
        origin: Source of the rows, for error messages.
        y_train: One label a row: numbers, text or truth values.
        class_names: The class of label 0, 1, …; without it the sorted labels name the classes.
        feature_names: One name a column of x.
    """

    origin: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: Sequence[str] | None = None
    feature_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if x.ndim < 2 or len(x) == 0:
                raise BadDatasetError(
                    f"{self.origin}: x_{part} has shape {x.shape}; it must be (rows, features…) with at least one row"
                )
            if y.shape not in ((len(x),), (len(x), 1)):
                raise BadDatasetError(
                    f"{self.origin}: x_{part} has {len(x)} rows and y_{part} has shape {y.shape}; "
                    f"it must hold one label a row, ({len(x)},)"
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise BadDatasetError(
                f"{self.origin}: a row of x_train has shape {self.x_train.shape[1:]}, "
                f"a row of x_test {self.x_test.shape[1:]}; they must be the same"
            )


def check_alike(x_train: np.ndarray, x_test: np.ndarray, origin: str) -> None:
    """Checks that numbers mean the same in training and in the test.

    Raises:
        BadDatasetError: One holds whole numbers and the other fractions, or they are on different scales.
    """
    kinds = [x.dtype.kind in "biu" for x in (x_train, x_test)]
    if kinds[0] != kinds[1]:
        real, name = (x_test, "x_test") if kinds[0] else (x_train, "x_train")
        if (real != np.round(real)).any():
            raise BadDatasetError(
                f"{origin}: x_train is {x_train.dtype} and x_test {x_test.dtype}, and {name} holds fractions; "
                "bring both to one scale and one type"
            )
    samples = [x[:: 1 + len(x) // 10_000].astype(np.float64) for x in (x_train, x_test)]
    sizes = [np.abs(x).mean(axis=0) for x in samples]
    used = (sizes[0] > 0) & (sizes[1] > 0)
    ratio = float(np.median(sizes[1][used] / sizes[0][used])) if used.any() else 1.0
    if not 1 / MOST_RATIO < ratio < MOST_RATIO and np.isfinite(ratio):
        raise BadDatasetError(
            f"{origin}: the features of x_test are {ratio:.3g} times those of x_train (the median over the features of "
            "their mean magnitudes); bring both to one scale"
        )


def check_labels(y_train: np.ndarray, y_test: np.ndarray, class_names: Sequence[str], origin: str) -> None:
    """Checks that class indices mean the same in training and in the test.

    Raises:
        BadDatasetError: There is one class alone, or classes occur in the test rows alone, and more than a rare class
            would.
    """
    if len(y_train) and y_train.min() == y_train.max():
        raise BadDatasetError(
            f"{origin}: all {len(y_train)} training rows are of the class {class_names[y_train[0]]!r}; "
            "give rows of two classes at least"
        )
    strange = np.setdiff1d(y_test, y_train)
    if len(strange) == 0:
        return
    rows = int(np.isin(y_test, strange).sum())
    ends = [(y.min(), y.max()) for y in (y_train, y_test)]
    is_shifted = ends[1][0] - ends[0][0] == ends[1][1] - ends[0][1] != 0
    if is_shifted or rows > MOST_STRANGE * len(y_test):
        of_train, of_test = (f"{class_names[low]} to {class_names[high]}" for low, high in ends)
        raise BadDatasetError(
            f"{origin}: {rows} of {len(y_test)} test rows are of a class that no training row has, such as "
            f"{class_names[strange[0]]!r}; y_train goes from {of_train}, y_test from {of_test}; they must count alike"
        )


def class_indices(
    labels: np.ndarray, class_names: Sequence[str] | None, origin: str
) -> tuple[np.ndarray, Sequence[str]]:
    """Labels of any kind as class indices, and the names of the classes.

    Numbers, and text that spells whole numbers, are ordered as numbers; other text is ordered alphabetically.

    Raises:
        BadDatasetError: A label is missing, is no class, or has no entry in `class_names`.
    """
    labels = _whole_numbers_or_text(labels.reshape(-1), origin)
    if class_names is None:
        values, indices = np.unique(labels, return_inverse=True)
        return indices, [str(value) for value in values]
    if labels.dtype.kind == "U":
        known = {str(name): index for index, name in enumerate(class_names)}
        unknown = sorted(set(labels.tolist()) - known.keys())
        if unknown:
            raise BadDatasetError(f"{origin}: the label {unknown[0]!r} is not among class_names ({', '.join(known)})")
        return np.array([known[label] for label in labels.tolist()]), class_names
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise BadDatasetError(
            f"{origin}: labels go from {labels.min()} to {labels.max()}, but class_names has entries for 0 to "
            f"{len(class_names) - 1}; change one of them, or leave class_names out"
        )
    return labels, class_names


def _whole_numbers_or_text(labels: np.ndarray, origin: str) -> np.ndarray:
    missing = sum(label is None or label != label for label in labels.tolist())
    if missing:
        raise BadDatasetError(f"{origin}: {missing} of {len(labels)} labels are missing; leave those rows out")
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return labels.astype(str)
    wrong = ~np.isfinite(numbers) | (numbers != np.round(numbers))
    if wrong.any():
        raise BadDatasetError(
            f"{origin}: {wrong.sum()} of {len(labels)} labels are no whole numbers, such as {numbers[wrong][0]}; "
            "labels must be classes, not measurements"
        )
    return numbers.astype(np.int64)


def check_finite(x: np.ndarray, feature_names: Sequence[str] | None, origin: str) -> None:
    """Raises BadDatasetError if a value is missing (NaN) or infinite."""
    counts = (~np.isfinite(x)).reshape(len(x), -1).sum(axis=0)
    columns = np.flatnonzero(counts)
    if len(columns) == 0:
        return
    listed = ", ".join(
        f"{feature_names[column] if feature_names is not None else column} ({counts[column]})" for column in columns[:5]
    )
    raise BadDatasetError(
        f"{origin}: missing or infinite values in {len(columns)} of {len(counts)} columns: {listed}"
        f"{', …' if len(columns) > 5 else ''}; fill them in or leave those rows out, "
        "and put the result under DIFFLUT_DATA as an .npz file"
    )


def numeric_features(x: np.ndarray, feature_names: Sequence[str] | None, origin: str) -> np.ndarray:
    """Features as they are if uint8, otherwise as float32, all of them finite.

    Raises:
        BadDatasetError: They are no numbers, not finite, or fall together in float32.
    """
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "biuf":
        raise BadDatasetError(f"{origin}: the features are of type {x.dtype}; they must be numbers")
    with np.errstate(over="ignore"):
        rounded = x.astype(np.float32)
    check_finite(rounded, feature_names, origin)
    try:
        check_rounding(x, rounded)
    except ValueError as error:
        raise BadDatasetError(f"{origin}: {error}") from error
    return rounded
