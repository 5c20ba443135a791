"""From tables with text and missing values to the numbers that an encoder takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, Self, TypeAlias

import numpy as np

MOST_CATEGORIES = 256  # bits of a column of text at most, rare categories left out
NUMBERS = "biuf"  # kinds of types: booleans, integers, unsigned ones, floats
BLOCK = 4096  # rows whose features are made together, so that they stay in a cache


@dataclass(frozen=True)
class Coded:
    """A column of categories.

    Attributes:
        codes: The number of each row's category, -1 where it is missing: `(rows,)`.
        values: The categories.
    """

    codes: np.ndarray
    values: list[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | np.ndarray) -> "Coded":
        return Coded(self.codes[rows], self.values)


Column: TypeAlias = np.ndarray | Coded
Source: TypeAlias = np.ndarray | list[Column]  # an array of numbers (rows, columns), or columns


class Columns:
    """Turns columns of numbers and of categories into features in float32.

    A column of numbers is one feature, with NaN where a value is missing, which exceeds no threshold. A column of
    categories is a feature for each category seen in `fit`, the 256 most frequent of them, 1 where it is and 0
    elsewhere. A column with missing values in `fit` has one more feature, 1 where they are missing.

    Attributes:
        names: Names of the columns.
        categories: Categories of each column, the most frequent first; None for a column of numbers.
        has_missing: Whether each column has missing values: `(columns,)` booleans.
    """

    def fit(self, table: Source, names: Sequence[str]) -> Self:
        """Learns which categories and missing values there are.

        Args:
            table: An array of numbers, or columns as `columns_of` gives them.
            names: The name of each column, for errors and `features`.
        """
        columns, self.names = _columns(table), list(names)
        self.categories = [_categories(column) if isinstance(column, Coded) else None for column in columns]
        self.has_missing = np.array([bool(missing(column).any()) for column in columns])
        return self

    def __call__(self, table: Source) -> np.ndarray:
        """The features of a table: `(rows, features)`, float32 or, where they are those of an array, as they are.

        Raises:
            ValueError: A column of numbers now holds categories.
        """
        numbers = not self.has_missing.any() and all(each is None for each in self.categories)
        if isinstance(table, np.ndarray) and numbers:
            return table
        known = [self._known(*column) for column in zip(_columns(table), self.categories, self.names, strict=True)]
        features = np.empty((len(known[0]), len(self.features())), np.float32)
        for start in range(0, len(features), BLOCK):
            block, first = slice(start, start + BLOCK), 0
            for values in self._values([column[block] for column in known]):
                with np.errstate(over="ignore"):  # infinity exceeds what a number too large would
                    features[block, first : first + values.shape[1]] = values
                first += values.shape[1]
        return features

    def features(self) -> list[str]:
        """The name of each feature: `column`, `column=category`, or `column is missing`."""
        features = []
        for column, categories, has_missing in zip(self.names, self.categories, self.has_missing, strict=True):
            features += [column] if categories is None else [f"{column}={category}" for category in categories]
            features += [f"{column} is missing"] * bool(has_missing)
        return features

    def _known(self, column: Column, categories: list[Any] | None, name: str) -> Column:
        """A column with the codes that its categories had in `fit`, the number behind them where there was none."""
        if categories is None:
            if isinstance(column, Coded) and column.values:
                raise ValueError(f"column {name!r} held numbers in fit and now {column.values[0]!r}; give numbers")
            return np.full(len(column), np.nan) if isinstance(column, Coded) else column
        column = column if isinstance(column, Coded) else _coded(column)
        position = {category: number for number, category in enumerate(categories)}
        found = [position.get(value, len(categories)) for value in column.values]
        return Coded(np.array([*found, -1])[column.codes], categories)

    def _values(self, columns: Sequence[Column]) -> Iterator[np.ndarray]:
        for column, has_missing in zip(columns, self.has_missing, strict=True):
            if isinstance(column, Coded):
                yield column.codes[:, None] == np.arange(len(column.values))
            else:
                yield column[:, None]
            if has_missing:
                yield missing(column)[:, None]


def columns_of(frame: Any) -> list[Column]:
    """The columns of a data frame, missing values among numbers being NaN.

    Raises:
        TypeError: A column holds neither numbers nor categories.
        ValueError: A number is infinite.
    """
    return [_column(repr(name), frame.iloc[:, number]) for number, name in enumerate(frame.columns)]


def number_of_rows(table: Source) -> int:
    return len(table) if isinstance(table, np.ndarray) else len(table[0])


def rows_of(table: Source, chosen: np.ndarray) -> Source:
    """The rows of a table that are chosen by booleans or numbers."""
    return table[chosen] if isinstance(table, np.ndarray) else [column[chosen] for column in table]


def is_frame(x: Any) -> bool:
    """Whether x is a data frame of pandas."""
    return hasattr(x, "iloc") and hasattr(x, "columns")


def holds_text(x: Any) -> bool:
    """Whether an array, or what makes one, holds a string."""
    array = np.asarray(x)
    return array.dtype.kind in "UST" or (array.dtype.kind == "O" and any(isinstance(v, str) for v in array.flat))


def is_numeric(frame: Any) -> bool:
    """Whether all columns of a data frame hold numbers, so that it is an array of numbers."""
    return all(getattr(dtype, "kind", "O") in NUMBERS for dtype in frame.dtypes)


def missing(column: Column) -> np.ndarray:
    """Where a column has no value: `(rows,)` booleans."""
    return column.codes < 0 if isinstance(column, Coded) else np.isnan(column)


def _columns(table: Source) -> list[Column]:
    return list(table.T) if isinstance(table, np.ndarray) else table


def _column(name: str, series: Any) -> Column:
    kind = getattr(series.dtype, "kind", "O")  # pandas' types for strings and categories have the kind "O"
    if kind in NUMBERS:
        return _finite(name, series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind not in "OUST":
        raise TypeError(f"column {name} is of type {series.dtype}; give numbers, strings or categories")
    if hasattr(series, "cat"):
        return Coded(series.cat.codes.to_numpy(), series.cat.categories.tolist())
    try:
        codes, found = series.factorize()
    except TypeError as error:
        raise TypeError(f"column {name} holds no categories: {error}; give numbers, strings or categories") from None
    values = found.tolist()
    for value in values:
        if isinstance(value, date | time | timedelta) or hasattr(value, "to_timestamp"):  # which pandas' periods have
            raise TypeError(f"column {name} holds {type(value).__name__}; give numbers, strings or categories")
    if values and all(isinstance(value, Real | Decimal) for value in values):
        return _finite(name, np.array([*values, np.nan], np.float64)[codes])
    return Coded(codes, values)


def _finite(name: str, column: np.ndarray) -> np.ndarray:
    if np.isinf(column).any():
        raise ValueError(f"column {name} holds infinity; give a finite number, or NaN where there is none")
    return column


def _coded(column: np.ndarray) -> Coded:
    """Numbers as categories; those of `fit` may have been numbers, too."""
    values, codes = np.unique(column, return_inverse=True)
    present = ~np.isnan(values)
    return Coded(np.where(present, np.arange(len(values)), -1)[codes], values[present].tolist())


def _categories(column: Coded) -> list[Any]:
    """The categories of a column, the most frequent first, equally frequent ones by name."""
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    present = [number for number in range(len(counts)) if counts[number]]
    ranked = sorted(present, key=lambda number: (-counts[number], str(column.values[number])))
    return [column.values[number] for number in ranked[:MOST_CATEGORIES]]
