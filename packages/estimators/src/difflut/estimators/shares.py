"""Categories as numbers, how often each class goes with each of them, and numbers that are categories."""

import numpy as np

PARTS = 5  # of the rows, of which each is coded by what the others say
SPANS = 16  # of neighbouring values, each with as many rows as the others
SURE = 3.0  # standard deviations of chance by which single values must tell more of the class than spans of them
LEAST_SHARE = 1e-6  # of a class that no row asked has in the others
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


def names_more(
    codes: np.ndarray, y: np.ndarray, weights: np.ndarray, values: int, classes: int, part: np.ndarray
) -> bool:
    """Whether a column's values tell more of the class one by one than in their order, as numbers of persons do.

    Rows of the first two parts are given the shares of the classes at their value in the other parts, and those in
    spans of neighbouring values. With the former their classes must be more likely, by more than chance.

    Args:
        codes: The rank of each row's value, -1 where it is missing: `(rows,)`; the rest is as in `cross_fitted_shares`.
    """
    below = np.cumsum(np.bincount(codes[codes >= 0], minlength=values))
    spans = np.append((below - 1) * SPANS // below[-1], -1)[codes]
    asked = part < 2
    right = []
    for each, size in ((codes, values), (spans, SPANS)):
        shares = class_shares(each[~asked], y[~asked], weights[~asked], size, classes)[each[asked]]
        shares = np.hstack([1 - shares, shares]) if classes == 2 else shares
        right.append(np.take_along_axis(shares, y[asked, None], axis=1)[:, 0].clip(LEAST_SHARE))
    gain = weights[asked] * (np.log(right[0]) - np.log(right[1]))
    return bool(gain.sum() > SURE * np.sqrt((gain**2).sum()))
