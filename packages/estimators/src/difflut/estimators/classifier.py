"""A classifier made of look-up tables, with scikit-learn's interface."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, assert_all_finite, check_random_state, compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from difflut.circuits import (
    Circuit,
    Cost,
    estimate_cost,
    fixed_point_words,
    simplify,
    write_c,
    write_json,
    write_verilog,
)
from difflut.estimators.arguments import check_arguments, counts_and_weights, labels_of_rows
from difflut.estimators.columns import (
    Columns,
    Source,
    columns_of,
    holds_text,
    is_frame,
    is_numeric,
    number_of_rows,
    rows_of,
)
from difflut.estimators.fitting import Fitter, Table
from difflut.estimators.recipe import Recipe, default_recipe
from difflut.models import save_checkpoint
from difflut.nodes import Node
from difflut.registry import REGISTRY

ROWS_TO_VALIDATE = 10_000
MOST_VALIDATION_ROWS = 10_000
PART_BYTES, PART_ROWS = 2**21, 512  # of an array that a thread predicts at once: what a cache holds, in whole blocks


class LUTClassifier(ClassifierMixin, BaseEstimator):
    """A network of look-up tables that classifies rows of a table, bit for bit as hardware does.

    Columns of numbers are compared with thresholds. In a data frame of pandas or polars, a column of strings or
    categories becomes one bit for each category; if it has more than 16, the shares of the classes in a category are
    numbers. A missing value (NaN) exceeds no threshold; a column with missing values has one more bit, which tells
    where they are.
    Each class has a group of tables, whose ones are its votes. Arguments that are None follow from the numbers of rows,
    features and classes (`default_recipe`).

    Args:
        votes: Tables of each class.
        n: Inputs of a table.
        num_bits: Thresholds of each column of numbers.
        candidates: Bits among which training chooses each input of a table.
        node_type: A node type by name, or a node class.
        epochs: Passes over the rows.
        batch_size: Rows in a step.
        learning_rate: Learning rate of the first step; it falls along half a cosine.
        tau: Temperature: votes divided by it are logits. A higher one copes with more noise.
        explores: Whether half of the tables start at random and all choose their inputs, which follows a function of
            little noise further. Otherwise all start as parts of a forest, and keep its splits. With None, `fit`
            compares both by cross-validation.
        early_stopping: Whether a tenth of the rows is held out to choose the best epoch; "auto" does so from 10,000
            rows on. Otherwise the last epoch is taken.
        class_weight: "balanced", or the weight of each class in the loss.
        random_state: Seed or generator of the forest, wiring, start, held-out rows and the order of the rows; an
            integer makes `fit` repeatable.

    Attributes:
        classes_: The labels, sorted: `(classes,)`.
        circuit_: The hard network (`difflut.circuits.Circuit`), which reads `features(X)`.
        network_: The trained network (`difflut.models.LUTNetwork`).
        recipe_: Settings that `fit` trained with.
        history_: The metrics of each epoch.
        n_iter_: Epochs trained.
        n_features_in_: Columns.
        feature_names_in_: Their names, where `fit` was given a data frame.
    """

    def __init__(
        self,
        votes: int | None = None,
        n: int = 6,
        num_bits: int | None = None,
        candidates: int | None = None,
        node_type: str | Callable[..., Node] = "dwn",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        tau: float | None = None,
        explores: bool | None = None,
        early_stopping: bool | Literal["auto"] = "auto",
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.votes = votes
        self.n = n
        self.num_bits = num_bits
        self.candidates = candidates
        self.node_type = node_type
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tau = tau
        self.explores = explores
        self.early_stopping = early_stopping
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains on a table.

        Neither the order of the rows matters, nor whether a row comes several times or once with a weight of as many.

        Args:
            X: An array of numbers `(rows, columns)` or a data frame.
            y: The label of each row, of any type: `(rows,)`.
            sample_weight: Weight of each row, 0 or more: `(rows,)`. A whole number counts it so often; where there are
                other numbers, or they sum to more than 100,000 rows, they weigh rows in votes and loss. None counts
                each row once.

        Raises:
            ValueError: An argument is out of range, X, y and weights do not fit together, there is only one class, or a
                value is infinite.
            TypeError: A column holds neither numbers, strings nor categories.
        """
        check_arguments(self)
        columns, y = self._table(X, reset=True), labels_of_rows(y)
        if (rows := number_of_rows(columns)) != len(y):
            raise ValueError(f"X has {rows} rows and y has {len(y)}; give a label for each row")
        counts, weights = counts_and_weights(sample_weight, rows)
        if sample_weight is not None:
            chosen = np.repeat(np.arange(rows), counts)
            columns, y, weights = rows_of(columns, chosen), y[chosen], weights[chosen]
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"LUTClassifier needs at least 2 classes; y has 1 class, {self.classes_.tolist()}")
        weights = weights * compute_class_weight(self.class_weight, classes=self.classes_, y=y)[indices]
        names = getattr(self, "feature_names_in_", [f"x{number}" for number in range(self.n_features_in_)])
        seed, self.columns_ = int(check_random_state(self.random_state).randint(2**31 - 1)), Columns()
        described = [str(name) for name in names], indices, weights, self.classes_.tolist()
        x = _in_single_precision(self.columns_.fit_transform(columns, *described, seed))
        if np.isinf(x).any():
            column = self.columns_.features()[int(np.isinf(x).any(axis=0).argmax())]
            raise ValueError(f"column {column!r} holds a value that is too large for float32; scale it")
        table = Table(x, indices, weights, len(self.classes_)).in_order()
        node_type = REGISTRY.get_node(self.node_type) if isinstance(self.node_type, str) else self.node_type
        fitter = Fitter(node_type, int(self.n), seed)
        recipes = self._recipes(*table.x.shape)
        self.recipe_ = fitter.choose(table, recipes) if self.explores is None else recipes[bool(self.explores)]
        self.network_, self.history_ = fitter.fit(table, self.recipe_)
        self.n_iter_ = len(self.history_)
        self.circuit_ = Circuit.from_model(self.network_)
        self._engine = self.circuit_.engine()
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The label of each row: `(rows,)`."""
        classes = np.concatenate([self._engine.classes(features) for features in self._parts(X)])
        return self.classes_[classes]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, the softmax of the logits: `(rows, classes)`."""
        votes = np.concatenate([self._engine.counts(features) for features in self._parts(X)]) / self.circuit_.tau
        odds = np.exp(votes - votes.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def features(self, X: Any) -> np.ndarray:
        """What the circuit and its exports read: `(rows, features)`, float32."""
        return _in_single_precision(np.concatenate(list(self._parts(X))))

    def cost(self) -> Cost:
        """What the simplified circuit costs in hardware, an estimate in look-up tables of six inputs."""
        check_is_fitted(self)
        return estimate_cost(simplify(self.circuit_)[0])

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the simplified network to a folder, which is made.

        It gets `circuit.npz` (`Circuit.load`), `circuit.json`, `circuit.c`, `verilog/`, the checkpoint `network.pt`
        (`load_checkpoint`) and `columns.json`: the features that all of them read, in their order, the shares that
        categories become where a column has many, and the labels of the classes.

        Raises:
            FileExistsError: There is a file of this name.
        """
        check_is_fitted(self)
        folder = Path(folder)
        if folder.is_file():
            raise FileExistsError(f"export: {str(folder)!r} is a file; name a folder, which need not exist")
        folder.mkdir(parents=True, exist_ok=True)
        circuit, _ = simplify(self.circuit_)
        circuit.save(folder / "circuit.npz")
        write_json(circuit, folder / "circuit.json")
        write_c(circuit, folder / "circuit.c")
        write_verilog(circuit, folder / "verilog", fixed_point_words(circuit))
        save_checkpoint(self.network_, folder / "network.pt")
        described = {
            "features": self.columns_.features(),
            "shares": self.columns_.shares(),
            "classes": self.classes_.tolist(),
        }
        (folder / "columns.json").write_text(json.dumps(described, indent=1, default=str) + "\n", encoding="utf-8")
        return folder

    def _recipes(self, rows: int, features: int) -> tuple[Recipe, Recipe]:
        """The recipes for a noisy table and for one with little noise, with what the user chose."""
        recipe = default_recipe(rows, features, len(self.classes_))
        given = {name: getattr(self, name, None) for name in asdict(recipe)}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
        chosen: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
        stops = rows >= ROWS_TO_VALIDATE if self.early_stopping == "auto" else self.early_stopping
        chosen["validation_rows"] = min(max(1, rows // 10), MOST_VALIDATION_ROWS) if stops else 0
        recipe = recipe.with_votes(chosen.get("votes", recipe.votes))
        return replace(recipe, **chosen), replace(recipe.exploring(), **chosen)

    def _parts(self, X: Any) -> Iterator[np.ndarray]:
        """What the engine reads: the features, in double precision where they are and X is.

        An array is checked in parts that stay in a cache until the engine reads them.
        """
        check_is_fitted(self)
        table = self._table(X, reset=False)
        if not isinstance(table, np.ndarray):
            yield self.columns_(table)
            return
        rows = max(1, PART_BYTES * self._engine.threads // (table.itemsize * table.shape[1]) // PART_ROWS) * PART_ROWS
        for start in range(0, len(table), rows):
            part = table[start : start + rows]
            assert_all_finite(part, allow_nan=True, input_name="X")
            yield self.columns_(part)

    def _table(self, X: Any, reset: bool) -> Source:
        """A table; with `reset` it is checked for infinite values, and later ones must have the same columns."""
        if is_frame(X) and 0 in X.shape:
            raise ValueError(f"X has no {'rows' if X.shape[1] else 'columns'}; give at least one")
        if is_frame(X) and not is_numeric(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return columns_of(X)
        try:
            return validate_data(self, X, reset=reset, ensure_all_finite="allow-nan" if reset else False)
        except ValueError as error:
            if holds_text(X):
                raise ValueError(
                    "X holds text; give a data frame of pandas or polars, whose columns of text are categories; "
                    "a transformer gives one after set_output(transform='pandas')"
                ) from error
            raise

    def __getstate__(self) -> dict[str, Any]:
        # An engine holds compiled code, which cannot be pickled; `__setstate__` makes it again from the circuit.
        return {name: value for name, value in super().__getstate__().items() if name != "_engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "circuit_"):
            self._engine = self.circuit_.engine()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _in_single_precision(features: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinity exceeds what a number too large would
        return np.ascontiguousarray(features, np.float32)
