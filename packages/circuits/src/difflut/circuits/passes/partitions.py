"""Which levels of a feature are told apart: by one bit of the encoder, or by several."""

import numpy as np

from difflut.circuits.circuit.rows import distinct


class Partitions:
    """Levels divided into classes; equal divisions have one number.

    Division 0 tells nothing apart, and what is free has two states, its levels 0 and 1.

    Attributes:
        classes: The class of each level, in the order of their first levels; -1 does not occur: `(partitions, levels)`.
        members: The first level of each class: `(partitions, levels)`.
        sizes: How many classes there are: `(partitions,)`.
        free: The number of the division of what is free.
    """

    def __init__(self, levels: int) -> None:
        self.classes = np.zeros((1, levels), np.int16)
        self.sizes = np.ones(1, np.int64)
        self.members = np.zeros((1, levels), np.int16)
        self.free = int(self.add(np.minimum(np.arange(levels), 1)[None])[0][0])

    def add(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levels are told apart where their codes differ; those of negative codes do not occur.

        Args:
            codes: `(rows, levels)`; few levels are filled up.

        Returns:
            The number of each division, and the first level of its rows that occurs: `(rows,)` each.
        """
        codes = np.pad(codes, ((0, 0), (0, self.classes.shape[1] - codes.shape[1])), constant_values=-1)
        order = np.argsort(codes, axis=1, kind="stable")
        ascending = np.take_along_axis(codes, order, 1)
        begins = np.diff(ascending, axis=1, prepend=-2) != 0
        positions = np.maximum.accumulate(np.where(begins, np.arange(codes.shape[1]), 0), axis=1)
        first = np.empty_like(order)
        np.put_along_axis(first, order, np.take_along_axis(order, positions, 1), 1)
        is_first = (first == np.arange(codes.shape[1])) & (codes >= 0)
        classes = np.where(codes < 0, -1, np.take_along_axis(is_first.cumsum(1) - 1, first, 1)).astype(np.int16)
        known = len(self.classes)
        every = np.concatenate([self.classes, classes])
        firsts, which = distinct(every)
        new = firsts >= known
        number = np.where(new, known + np.cumsum(new) - 1, firsts)
        members = np.zeros_like(classes)
        row, level = np.nonzero(is_first)
        members[row, classes[row, level]] = level
        self.classes = np.concatenate([self.classes, classes[firsts[new] - known]])
        self.sizes = np.concatenate([self.sizes, is_first.sum(1)[firsts[new] - known]])
        self.members = np.concatenate([self.members, members[firsts[new] - known]])
        return number[which[known:]], is_first.argmax(1)

    def refined(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """The divisions that tell apart what either does, of the same feature: `(rows,)` numbers each."""
        first, which = distinct(one, other)
        a, b = self.classes[one[first]].astype(np.int64), self.classes[other[first]]
        return self.add(np.where(a < 0, -1, a * self.classes.shape[1] + b))[0][which]
