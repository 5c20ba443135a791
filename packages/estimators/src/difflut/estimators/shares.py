"""Categories as numbers: how often each class goes with each of them."""

import numpy as np

PARTS = 5  # of the rows, of which each is coded by what the others say
ROWS_OF_PRIOR = 1.0  # rows with the classes of all that are added to those of a category


def class_shares(codes: np.ndarray, y: np.ndarray, weights: np.ndarray, categories: int, classes: int) -> np.ndarray:
    """The share of each class among the rows of each category: `(categories + 2, classes)`, or of the last of two.

    Rare categories are near the shares among all rows (Micci-Barreca, "A preprocessing scheme for high-cardinality
    categorical attributes", 2001). After the categories come one that these rows do not have, and missing values.

    Args:
        codes: The number of each row's category, -1 where it is missing: `(rows,)`.
        y: Class indices `(rows,)`.
        weights: Weight of each row: `(rows,)`.
        categories: Number of categories.
        classes: Number of classes.
    """
    kinds = categories + 2
    counts = np.bincount(codes % kinds * classes + y, weights, kinds * classes).reshape(kinds, classes)
    prior = counts.sum(axis=0) * (ROWS_OF_PRIOR / (counts.sum() or 1))
    shares = (counts + prior) / (counts.sum(axis=1, keepdims=True) + ROWS_OF_PRIOR)
    return shares[:, 1:] if classes == 2 else shares


def cross_fitted_shares(
    codes: np.ndarray, y: np.ndarray, weights: np.ndarray, categories: int, classes: int, part: np.ndarray
) -> np.ndarray:
    """The shares of each row's category in the other parts of the rows: `(rows, classes)`, or of the last of two.

    With a row's own class among them, the shares of a rare category would tell it in training, but not afterwards.

    Args:
        codes: As in `class_shares`, like what follows.
        part: The number of each row's part, below `PARTS`: `(rows,)`.
    """
    shares = np.empty((len(codes), 1 if classes == 2 else classes))
    for number in range(PARTS):
        inside = part == number
        others = class_shares(codes[~inside], y[~inside], weights[~inside], categories, classes)
        shares[inside] = others[codes[inside]]
    return shares
