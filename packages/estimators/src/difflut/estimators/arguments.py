"""Checks of what a user gives a classifier besides the columns, before any work."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from difflut.registry.arguments import check_call

COUNTS = ("votes", "n", "num_bits", "candidates", "epochs", "batch_size")
POSITIVE = ("learning_rate", "tau")
MOST_COUNTED = 100_000  # rows, counted as often as their weights say


def check_arguments(classifier: Any) -> None:
    """Checks the arguments of a classifier's constructor, which scikit-learn leaves as they are until `fit`.

    Raises:
        ValueError: One is of another type than its annotation, or out of range.
    """
    kind, given = type(classifier), classifier.get_params(deep=False)
    check_call(kind, 0, given)
    for name, value in given.items():
        if name in COUNTS and value is not None and value < 1:
            raise ValueError(f"{kind.__name__}: {name}={value} must be at least 1")
        if name in POSITIVE and value is not None and value <= 0:
            raise ValueError(f"{kind.__name__}: {name}={value} must be above 0")
    if isinstance(classifier.class_weight, Mapping):
        _check_class_weight(classifier.class_weight)
    try:
        check_random_state(classifier.random_state)
    except ValueError:
        raise ValueError(
            f"{kind.__name__}: random_state={classifier.random_state!r} must be a whole number from 0 to 2**32 - 1, "
            "a RandomState of numpy, or None"
        ) from None


def labels_of_rows(y: Any) -> np.ndarray:
    """The label of each row: `(rows,)`.

    Labels in pandas' own types, or in an array of objects, get the type of numpy that they have as Python's: booleans
    stay booleans, and whole numbers whole numbers. Strings stay objects.

    Raises:
        ValueError: They are no classes, or not all of one type.
    """
    if y is None:
        raise ValueError("LUTClassifier requires y to be passed, but the target y is None; give a label for each row")
    of_pandas = hasattr(y, "tolist") and not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype)
    given = y.tolist() if of_pandas else y
    labels = column_or_1d(given, warn=True)
    made_text = labels.dtype.kind == "U" and not hasattr(given, "dtype")  # of all values, where there is one string
    if made_text or labels.dtype == object:
        values = np.asarray(given, object).ravel().tolist()
        kinds = sorted({"str" if isinstance(label, str) else type(label).__name__ for label in values})
        if len(kinds) > 1:
            raise ValueError(f"y holds labels of the types {', '.join(kinds)}; give labels of one type, none missing")
        labels = labels if kinds == ["str"] else np.array(labels.tolist())
    check_classification_targets(labels)
    return labels


def counts_and_weights(sample_weight: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each row counts, and the weight that it has then: both `(rows,)`.

    Whole weights are counts, unless these sum to many more rows than there are. Others leave a row once, and a weight
    of 0 leaves it out.

    Args:
        sample_weight: Weights `(rows,)`, or None, which counts each row once.
        rows: Number of rows.

    Raises:
        ValueError: There is not one number, 0 or more, for each row, or all are 0.
    """
    if sample_weight is None:
        return np.ones(rows, np.int64), np.ones(rows)
    try:
        weights = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight holds no numbers: {error}; give a number for each row") from None
    if weights.shape != (rows,):
        raise ValueError(
            f"sample_weight has the shape {weights.shape} and X has {rows} rows; give a number for each row"
        )
    if wrong := np.flatnonzero(~np.isfinite(weights) | (weights < 0)).tolist():
        raise ValueError(f"sample_weight of row {wrong[0]} is {weights[wrong[0]]}; give a finite number, 0 or more")
    if not weights.any():
        raise ValueError("sample_weight is zero for all rows; give some row a weight above 0")
    if (weights == np.floor(weights)).all() and weights.sum() <= max(rows, MOST_COUNTED):
        return weights.astype(np.int64), np.ones(rows)
    return (weights > 0).astype(np.int64), weights / weights[weights > 0].mean()


def _check_class_weight(weights: Mapping[Any, float]) -> None:
    for label, weight in weights.items():
        if not (isinstance(weight, Real) and np.isfinite(weight) and weight >= 0):
            raise ValueError(f"class_weight of {label!r} is {weight!r}; give a finite number, 0 or more")
    if not any(weights.values()):
        raise ValueError(f"class_weight={dict(weights)} is 0 for all classes; give some class a weight above 0")
