"""The words that are compared with thresholds: those of the inputs, or sums of them in tables."""

from collections.abc import Sequence

import numpy as np

from difflut.circuits.arithmetic.compressors import Columns, add_compressors
from difflut.circuits.arithmetic.tables import Tables, inverse
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.circuit.sums import WeightedSums

Term = tuple[Sequence[str], int, int]  # a word, its lowest number, and the weight that it is added with


class FeatureWords:
    """The bits of each feature's word, the lowest first; sums are added when they are asked for.

    Args:
        names: Of the bits of the inputs' words, those of input 0 first, of each the lowest first.
    """

    def __init__(self, tables: Tables, circuit: Circuit, words: InputWords, names: Sequence[str]) -> None:
        self._tables, self._sums, self._width, self._names = tables, circuit.sums, words.width, names
        self._made: dict[int, list[str]] = {}

    def __getitem__(self, feature: int) -> Sequence[str]:
        return self._value(feature if self._sums is None else int(self._sums.features[feature]))

    def _value(self, value: int) -> Sequence[str]:
        if self._sums is None or value < self._sums.inputs:
            return self._names[value * self._width : (value + 1) * self._width]
        if value not in self._made:
            self._made[value] = self._add(value)
        return self._made[value]

    def _add(self, value: int) -> list[str]:
        assert self._sums is not None
        lowest, bits = self._sums.words
        row = value - self._sums.inputs
        terms = [
            (self._value(source), int(lowest[source]), weight)
            for source, weight in zip(self._sums.sources[row].tolist(), self._sums.weights[row].tolist(), strict=True)
            if source >= 0
        ]
        return add_sum(self._tables, terms, int(lowest[value]), int(bits[value]))


def count_sums(sums: WeightedSums) -> np.ndarray:
    """The tables that each sum takes, if it shares none with another: `(sums,)`.

    Sums of words of the same sizes, with the same weights, take as many, so one of them is added.
    """
    lowest, bits = sums.words
    size = distinct(lowest[:, None], bits[:, None])[1]
    most = int(np.abs(sums.weights).max(initial=0))
    terms = np.where(sums.sources < 0, -1, size[sums.sources] * (2 * most + 1) + sums.weights + most)
    first, form = distinct(np.sort(terms, axis=1), size[sums.inputs :, None])
    return np.array([_num_tables(sums, row) for row in first.tolist()], np.int64)[form]


def summed(sums: WeightedSums, values: np.ndarray) -> np.ndarray:
    """The sums that values are made of: `(sums,)` booleans."""
    needed = np.zeros(sums.inputs + sums.num_sums + 1, bool)  # the last is that of no source
    needed[values] = True
    for rows in reversed(sums.levels):
        needed[sums.sources[rows[needed[sums.inputs + rows]]]] = True
    return needed[sums.inputs : -1]


def _num_tables(sums: WeightedSums, row: int) -> int:
    (lowest, bits), tables = sums.words, Tables("t")
    added = [
        ([f"x{source}_{bit}" for bit in range(bits[source])], int(lowest[source]), weight)
        for source, weight in zip(sums.sources[row].tolist(), sums.weights[row].tolist(), strict=True)
        if source >= 0
    ]
    added.sort(key=lambda term: (len(term[0]), *term[1:]))
    add_sum(tables, added, int(lowest[sums.inputs + row]), int(bits[sums.inputs + row]))
    return len(tables.made)


def add_sum(tables: Tables, terms: Sequence[Term], lowest: int, width: int) -> list[str]:
    """The bits of a sum of words less the lowest number that it can be.

    A negative weight adds the inverse of each bit, and a constant sets right what that adds; what is beyond the word is
    left out. Sums are counted by the same compressors as votes, so that a sum of a few words takes no more tables than
    it adds bits.
    """
    columns: Columns = [[] for _ in range(width)]
    constant = -lowest
    for word, low, weight in terms:
        constant += weight * low + min(weight, 0) * (2 ** len(word) - 1)
        for place in range(abs(weight).bit_length()):
            if abs(weight) >> place & 1:
                for column, bit in zip(columns[place:], word, strict=False):
                    column.append(bit if weight > 0 else inverse(bit))
    for place, column in enumerate(columns):
        column += ["1"] * (constant >> place & 1)
    return add_compressors(tables, columns, width)
