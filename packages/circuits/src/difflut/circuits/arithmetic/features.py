"""The words that are compared with thresholds: those of the inputs, or sums of them in tables."""

from collections.abc import Sequence

from difflut.circuits.arithmetic.compressors import Columns, add_compressors
from difflut.circuits.arithmetic.tables import Tables, inverse
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit

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
            return self._names[value * self._width :][: self._width]
        if value not in self._made:
            self._made[value] = self._add(value)
        return self._made[value]

    def _add(self, value: int) -> list[str]:
        return add_sum(self._tables, *self._terms(value))

    def _terms(self, value: int) -> tuple[list[Term], int, int]:
        """What a sum adds, its lowest number, and its bits."""
        assert self._sums is not None
        lowest, bits = self._sums.words
        row = value - self._sums.inputs
        terms = [
            (self._value(source), int(lowest[source]), weight)
            for source, weight in zip(self._sums.sources[row].tolist(), self._sums.weights[row].tolist(), strict=True)
            if source >= 0
        ]
        return terms, int(lowest[value]), int(bits[value])


class CountedWords(FeatureWords):
    """Words whose sums are counted instead of added: sums of the same form take as many tables.

    Attributes:
        of_sums: The tables that each sum takes which was asked for, or added by one; by its value.
    """

    def __init__(self, circuit: Circuit, words: InputWords, names: Sequence[str]) -> None:
        super().__init__(Tables("w"), circuit, words, names)
        self.of_sums: dict[int, int] = {}
        self._known: dict[object, int] = {}

    @property
    def tables(self) -> int:
        """Number of tables that all these sums take."""
        return sum(self.of_sums.values())

    def _add(self, value: int) -> list[str]:
        terms, lowest, width = self._terms(value)
        terms.sort(key=lambda term: (len(term[0]), *term[1:]))
        form = tuple((len(word), *numbers) for word, *numbers in terms), lowest, width
        if form not in self._known:
            tables = Tables("t")
            add_sum(tables, terms, lowest, width)
            self._known[form] = len(tables.made)
        self.of_sums[value] = self._known[form]
        return [f"w{value}_{bit}" for bit in range(width)]


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
