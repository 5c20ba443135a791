"""From tables with text and missing values to the numbers that an encoder takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from difflut.estimators.shares import PARTS, SPANS, class_shares, cross_fitted_shares, names_more

MOST_BITS = 16  # of a column of categories; where it has more, or more than there are classes, they become numbers
NUMBERS = "biuf"  # kinds of types: booleans, integers, unsigned ones, floats
# Which numbers of a time matter depends on the question; a threshold on the time itself would hold for no later row.
TIMES_AS_NUMBERS = "give numbers in its place, such as .dt.month, .dt.dayofweek, .dt.hour or days since a first day"
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

    A column of numbers is one feature, with NaN where a value is missing, which exceeds no threshold. A column of up to
    16 categories, or up to as many as there are classes, is a feature for each of them, 1 where it is and 0 elsewhere.
    One of more categories is a feature for each class, or for the second of two: the share of this class among the rows
    of `fit` with the same category, see `class_shares`. A column of whole numbers has these features, too, where its
    values tell more of the class one by one than in their order, as numbers of persons do; see `names_more`. A column
    with missing values in `fit` has one more feature, 1 where they are missing.

    Attributes:
        naming: Positions of the columns of numbers that are categories, too, and as such come again after all columns.
        names: Names of the columns.
        labels: The label of each class.
        categories: Categories of each column, the most frequent first; None for a column of numbers.
        numbers: The features of each category of each column, then of a category that `fit` has not seen, and last of
            missing values: `(categories + 2, features)`; without any for a column of numbers.
        has_missing: Whether each column has missing values: `(columns,)` booleans.
    """

    def fit_transform(
        self, table: Source, names: Sequence[str], y: np.ndarray, weights: np.ndarray, labels: Sequence[Any], seed: int
    ) -> np.ndarray:
        """Learns the features, and gives those to train on: `(rows, features)`.

        In these the shares of classes are those of rows in other parts of the table, see `cross_fitted_shares`; else
        they are what a call gives.

        Args:
            table: An array of numbers, or columns as `columns_of` gives them.
            names: The name of each column, for errors and `features`.
            y: Class indices `(rows,)`.
            weights: Weight of each row: `(rows,)`.
            labels: The label of each class.
            seed: Seed of the parts, which do not depend on the order of the rows.
        """
        columns, self.names, self.labels, self.naming = _columns(table), list(names), list(labels), []
        self.categories = [_categories(column) if isinstance(column, Coded) else None for column in columns]
        self.has_missing = np.array([bool(missing(column).any()) for column in columns])
        known = self._known(columns)
        candidates = {
            number: _coded(column)
            for number, column in enumerate(known)
            if not isinstance(column, Coded) and _may_name(column, len(labels))
        }
        order, part = np.arange(len(y)), np.zeros(len(y), int)
        if candidates or any(map(self._is_shared, self.categories)):
            order = np.lexsort([*(each.codes if isinstance(each, Coded) else each for each in known), weights, y])
            part = np.random.default_rng(seed).permutation(len(order)) % PARTS
        y, weights = y[order], weights[order]
        for number, named in candidates.items():
            if names_more(named.codes[order], y, weights, len(named.values), len(labels), part):
                self.naming.append(number)
                self.names.append(self.names[number])
                self.categories.append(named.values)
                self.has_missing = np.append(self.has_missing, False)  # the column of numbers tells where they are
                known.append(named)
        sizes = [len(each or ()) for each in self.categories]
        self.numbers = [np.eye(size + 2, size) for size in sizes]
        outside = {}
        for number, column in enumerate(known):
            if isinstance(column, Coded) and self._is_shared(column.values):
                given = column.codes[order], y, weights, sizes[number], len(labels)
                self.numbers[number] = class_shares(*given)
                outside[number] = cross_fitted_shares(*given, part)
        features, first = self(table), np.cumsum([0, *map(len, self._features())])
        for number, shares in outside.items():
            features[order, first[number] : first[number] + shares.shape[1]] = shares
        return features

    def __call__(self, table: Source) -> np.ndarray:
        """The features of a table: `(rows, features)`, float32 or, where they are those of an array, as they are.

        Raises:
            ValueError: A column of numbers now holds categories.
        """
        numbers = not self.has_missing.any() and all(each is None for each in self.categories)
        if isinstance(table, np.ndarray) and numbers:
            return table
        known = self._known(_columns(table))
        features = np.empty((len(known[0]), len(self.features())), np.float32)
        for start in range(0, len(features), BLOCK):
            block, first = slice(start, start + BLOCK), 0
            for values in self._values([column[block] for column in known]):
                with np.errstate(over="ignore"):  # infinity exceeds what a number too large would
                    features[block, first : first + values.shape[1]] = values
                first += values.shape[1]
        return features

    def features(self) -> list[str]:
        """The name of each feature: `column`, `column=category`, `column: share of class` or `column is missing`."""
        return [name for names in self._features() for name in names]

    def shares(self) -> dict[str, dict[str, list[Any]]]:
        """For each column of shares its categories, and its features at each, at others and at missing values."""
        return {
            name: {
                "categories": categories,
                "shares": numbers[:-2].tolist(),
                "unseen": numbers[-2].tolist(),
                "missing": numbers[-1].tolist(),
            }
            for name, categories, numbers in zip(self.names, self.categories, self.numbers, strict=True)
            if categories is not None and self._is_shared(categories)
        }

    def _is_shared(self, categories: list[Any] | None) -> bool:
        return categories is not None and len(categories) > max(MOST_BITS, len(self.labels))

    def _features(self) -> Iterator[list[str]]:
        """The names of the features of each column."""
        for column, categories, has_missing in zip(self.names, self.categories, self.has_missing, strict=True):
            if categories is None:
                names = [column]
            elif self._is_shared(categories):
                names = [f"{column}: share of {label}" for label in self.labels[len(self.labels) == 2 :]]
            else:
                names = [f"{column}={category}" for category in categories]
            yield names + [f"{column} is missing"] * bool(has_missing)

    def _known(self, columns: Sequence[Column]) -> list[Column]:
        """The columns, categories with the codes that they had in `fit`, the number behind them where they had none."""
        known: list[Column] = []
        columns = [*columns, *(columns[number] for number in self.naming)]
        for column, categories, name in zip(columns, self.categories, self.names, strict=True):
            if categories is None:
                if isinstance(column, Coded) and column.values:
                    raise ValueError(f"column {name!r} held numbers in fit and now {column.values[0]!r}; give numbers")
                known.append(np.full(len(column), np.nan) if isinstance(column, Coded) else column)
                continue
            column = column if isinstance(column, Coded) else _coded(column)
            position = {category: number for number, category in enumerate(categories)}
            found = [position.get(value, len(categories)) for value in column.values]
            known.append(Coded(np.array([*found, -1])[column.codes], categories))
        return known

    def _values(self, columns: Sequence[Column]) -> Iterator[np.ndarray]:
        for column, numbers, has_missing in zip(columns, self.numbers, self.has_missing, strict=True):
            yield numbers[column.codes] if isinstance(column, Coded) else column[:, None]
            if has_missing:
                yield missing(column)[:, None]


def columns_of(frame: Any) -> list[Column]:
    """The columns of a data frame of pandas or polars, missing values among numbers being NaN.

    Raises:
        TypeError: A column holds neither numbers nor categories.
        ValueError: A number is infinite.
    """
    if hasattr(frame, "iloc"):
        return [_column(repr(name), frame.iloc[:, number]) for number, name in enumerate(frame.columns)]
    return [_column_of_polars(repr(series.name), series) for series in frame.get_columns()]


def number_of_rows(table: Source) -> int:
    return len(table) if isinstance(table, np.ndarray) else len(table[0])


def rows_of(table: Source, chosen: np.ndarray) -> Source:
    """The rows of a table that are chosen by booleans or numbers."""
    return table[chosen] if isinstance(table, np.ndarray) else [column[chosen] for column in table]


def is_frame(x: Any) -> bool:
    """Whether x is a data frame of pandas or polars."""
    return hasattr(x, "columns") and (hasattr(x, "iloc") or hasattr(x, "get_columns"))


def holds_text(x: Any) -> bool:
    """Whether an array, or what makes one, holds a string."""
    array = np.asarray(x)
    return array.dtype.kind in "UST" or (array.dtype.kind == "O" and any(isinstance(v, str) for v in array.flat))


def is_numeric(frame: Any) -> bool:
    """Whether all columns of a data frame hold numbers of numpy's types, so that it is an array of numbers."""
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
    if kind in "mM" or hasattr(series.dtype, "freq"):  # which pandas' periods have
        raise TypeError(f"column {name} is of type {series.dtype}; {TIMES_AS_NUMBERS}")
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
            raise TypeError(f"column {name} holds {type(value).__name__}; {TIMES_AS_NUMBERS}")
    if values and all(isinstance(value, Real | Decimal) for value in values):
        return _finite(name, np.array([*values, np.nan], np.float64)[codes])
    return Coded(codes, values)


def _column_of_polars(name: str, series: Any) -> Column:
    kind = series.dtype
    if kind.is_numeric() or str(kind) == "Boolean":
        return _finite(name, series.cast(float).to_numpy())  # in which what is missing is NaN
    if kind.is_temporal():
        raise TypeError(f"column {name} is of type {kind}; {TIMES_AS_NUMBERS}")
    if not str(kind).startswith(("String", "Categorical", "Enum", "Null")):
        raise TypeError(f"column {name} is of type {kind}; give numbers, strings or categories")
    text = series.cast(str)
    values = text.drop_nulls().unique().sort()
    codes = values.search_sorted(text.fill_null("")).to_numpy().astype(np.int64)
    return Coded(np.where(text.is_null().to_numpy(), -1, codes), values.to_list())


def _finite(name: str, column: np.ndarray) -> np.ndarray:
    if np.isinf(column).any():
        raise ValueError(f"column {name} holds infinity; give a finite number, or NaN where there is none")
    return column


def _may_name(column: np.ndarray, classes: int) -> bool:
    """Whether a column holds whole numbers that come again, and too many of them to be told apart by thresholds."""
    known = column[~np.isnan(column)]
    return bool((known == np.floor(known)).all()) and max(2 * SPANS, classes) < len(np.unique(known)) <= len(known) / 2


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
    return [column.values[number] for number in ranked]
