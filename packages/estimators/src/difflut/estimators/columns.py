"""From tables with text and missing values to the numbers that an encoder takes."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

MOST_CATEGORIES = 64  # bits of a column of text at most, rare categories left out


class Columns:
    """Turns columns of numbers and of categories into features in float32.

    A column of numbers is one feature, with NaN where a value is missing, which exceeds no threshold. A column of
    categories is a feature for each category seen in `fit`, the 64 most frequent of them, 1 where it is and 0
    elsewhere. A column with missing values in `fit` has one more feature, 1 where they are missing.

    Attributes:
        categories: Categories of each column, the most frequent first; None for a column of numbers.
        has_missing: Whether each column has missing values: `(columns,)` booleans.
    """

    def fit(self, columns: list[np.ndarray]) -> Self:
        """Learns which categories and missing values there are.

        Args:
            columns: Columns as `columns_of` gives them.
        """
        self.categories = [None if is_numeric(column) else _categories(column) for column in columns]
        self.has_missing = np.array([bool(missing(column).any()) for column in columns])
        return self

    def __call__(self, columns: list[np.ndarray]) -> np.ndarray:
        """The features of columns: `(rows, features)`, float32."""
        return np.ascontiguousarray(np.stack(list(self._features(columns)), axis=1), np.float32)

    def names(self, columns: list[str]) -> list[str]:
        """The name of each feature: `column`, `column=category`, or `column is missing`."""
        features = []
        for column, categories, has_missing in zip(columns, self.categories, self.has_missing, strict=True):
            features += [column] if categories is None else [f"{column}={category}" for category in categories]
            features += [f"{column} is missing"] * bool(has_missing)
        return features

    def _features(self, columns: list[np.ndarray]) -> Iterator[np.ndarray]:
        for column, categories, has_missing in zip(columns, self.categories, self.has_missing, strict=True):
            if categories is None:
                yield column
            else:
                yield from (column == category for category in categories)
            if has_missing:
                yield missing(column)


def columns_of(x: Any) -> list[np.ndarray]:
    """The columns of a data frame or of an array of numbers: floats, or objects where they hold categories.

    Missing values are NaN among numbers and None among categories.

    Raises:
        TypeError: A column holds neither numbers nor categories.
    """
    if not is_frame(x):
        return list(np.asarray(x).T)
    return [_column(str(name), x.iloc[:, number]) for number, name in enumerate(x.columns)]


def is_frame(x: Any) -> bool:
    """Whether x is a data frame of pandas."""
    return hasattr(x, "iloc") and hasattr(x, "columns")


def is_numeric(column: np.ndarray) -> bool:
    return column.dtype != object


def missing(column: np.ndarray) -> np.ndarray:
    """Where a column has no value: `(rows,)` booleans."""
    return (
        np.isnan(column) if is_numeric(column) else np.fromiter((value is None for value in column), bool, len(column))
    )


def _column(name: str, series: Any) -> np.ndarray:
    kind = getattr(series.dtype, "kind", "O")  # pandas' types for strings and categories have the kind "O"
    if kind in "biuf":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind not in "OUST":
        raise TypeError(f"column {name!r} is of type {series.dtype}; give numbers, strings or categories")
    column = series.astype(object).to_numpy(dtype=object, copy=True)
    column[np.asarray(series.isna())] = None
    return column


def _categories(column: np.ndarray) -> list[Any]:
    """The categories of a column, the most frequent first, equally frequent ones by name."""
    present = column[~missing(column)]
    counts: dict[Any, int] = {}
    for category in present.tolist():
        counts[category] = counts.get(category, 0) + 1
    return sorted(counts, key=lambda category: (-counts[category], str(category)))[:MOST_CATEGORIES]
