"""The encoder in tables: words to the bits that are read."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from difflut.circuits.arithmetic.comparisons import EncoderBits, comparison_tables, encoder_bits
from difflut.circuits.arithmetic.features import FeatureWords, count_sums, summed
from difflut.circuits.arithmetic.tables import Tables, plain
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.rows import distinct
from difflut.circuits.passes.split import LUT_SIZE

ENUMERATED = 12  # bits of a word up to which all its values are tried


def add_encoder(
    tables: Tables, bits: EncoderBits, words: InputWords, features: FeatureWords | Sequence[Sequence[str]]
) -> list[str]:
    """The bits that are read, of words and of the sums that are made of them.

    A bit that depends on at most six bits of its word is one table, or a wire; others are the exclusive or of their
    comparisons.
    """
    return [
        _add_bit(tables, limits, inverted, features[feature] if limits else ())
        for feature, limits, inverted in _compared(bits, words)
    ]


def count_encoder(circuit: Circuit, words: InputWords) -> int:
    """The tables that `add_encoder` adds for the bits that are read, and their inverters; no two sums share one.

    Words that are compared with the same limits for the same bits take as many, so these are counted once.
    """
    num_bits = circuit.codebook.shape[1]
    read = np.isin(np.arange(circuit.num_inputs), circuit.read_inputs()).reshape(-1, num_bits)
    first, form = distinct(words.limits, words.compared[:, None], read)
    signals = first[:, None] * num_bits + np.arange(num_bits)
    needed, of_feature = _NeededTables(), defaultdict[int, set[str]](set)
    for feature, limits, inverted in _compared(encoder_bits(circuit, signals[read[first]]), words):
        if limits:
            of_feature[feature] |= needed.by(limits, inverted, int(words.compared[feature]))
    compared = np.flatnonzero(np.isin(first, list(of_feature))[form])
    values = compared if circuit.sums is None else circuit.sums.features[compared]
    of_words = defaultdict[int, set[int]](set)  # several features may be the same word
    for value, feature in zip(values.tolist(), first[form[compared]].tolist(), strict=True):
        of_words[value].add(feature)
    alike = Counter(map(frozenset, of_words.values()))
    tables = sum(
        times * len(set[str]().union(*map(of_feature.__getitem__, features))) for features, times in alike.items()
    )
    if circuit.sums is not None:
        tables += int(count_sums(circuit.sums)[summed(circuit.sums, values)].sum())
    return tables


def bit_costs(circuit: Circuit, words: InputWords) -> np.ndarray:
    """The tables that each bit of the encoder takes, read or not, if no other shares one with it: `(inputs,)`.

    Those of sums, which all bits of a feature share, are `sum_costs`.
    """
    first, form = distinct(words.limits, words.compared[:, None])
    num_bits = circuit.codebook.shape[1]
    bits = encoder_bits(circuit, (first[:, None] * num_bits + np.arange(num_bits)).reshape(-1))
    needed, widths = _NeededTables(), words.compared.tolist()
    costs = [
        len(needed.by(limits, inverted, widths[feature])) if limits else 0
        for feature, limits, inverted in _compared(bits, words)
    ]
    return np.array(costs, np.int64).reshape(-1, num_bits)[form].reshape(-1)


def sum_costs(circuit: Circuit, words: InputWords) -> np.ndarray:
    """The tables that make each feature, if no other shares one with it: `(features,)`; none where it is an input."""
    if (sums := circuit.sums) is None:
        return np.zeros(circuit.num_features, np.int64)
    tables = count_sums(sums).tolist()
    needed: list[frozenset[int]] = []  # of each sum the sums that it is made of, itself included
    for row, sources in enumerate(sums.sources.tolist()):
        below = (needed[source - sums.inputs] for source in sources if source >= sums.inputs)
        needed.append(frozenset([row]).union(*below))
    of_sums = np.array([0] * sums.inputs + [sum(map(tables.__getitem__, rows)) for rows in needed])
    return of_sums[sums.features]


def _compared(bits: EncoderBits, words: InputWords) -> Iterator[tuple[int, tuple[int, ...], bool]]:
    """Of each bit the feature, the limits that its word is compared with, and the bit below all of them.

    A bit without limits is constant; its feature is 0.
    """
    features = bits.comparisons[:, 0].tolist()
    limits = words.limits[tuple(bits.comparisons.T)].tolist()
    for terms, inverted in zip(bits.terms, bits.inverted.tolist(), strict=True):
        yield features[terms[0]] if terms else 0, tuple(limits[term] for term in terms), inverted


class _NeededTables:
    """The tables that bits of words need. Those of all words have the same names, so each comparison is made once."""

    def __init__(self) -> None:
        self._tables = Tables("e")
        self._below: dict[str, frozenset[str]] = {}  # each table's output, and those of the tables that it needs
        self._known: dict[tuple[tuple[int, ...], bool, int], frozenset[str]] = {}

    def by(self, limits: tuple[int, ...], inverted: bool, width: int) -> frozenset[str]:
        """What a bit of a word of so many bits needs, an inverter included."""
        key = limits, inverted, width
        if key not in self._known:
            made = _add_bit(self._tables, limits, inverted, [f"x{bit}" for bit in range(width)])
            for table in self._tables.flat[len(self._below) :]:
                needed = (self._below.get(name, frozenset()) for name in table.inputs)
                self._below[table.output] = frozenset([table.output]).union(*needed)
            inverter = [made] * made.startswith("~")
            self._known[key] = self._below.get(plain(made), frozenset()).union(inverter)
        return self._known[key]


def _add_bit(tables: Tables, limits: Sequence[int], inverted: bool, word: Sequence[str]) -> str:
    """The parity of how many limits a word exceeds."""
    inverted ^= sum(limit < 0 for limit in limits) % 2 == 1
    # The words at which the parity changes; two equal limits cancel out.
    changes = [limit + 1 for limit, times in Counter(limits).items() if times % 2 and 0 <= limit < 2 ** len(word) - 1]
    if not changes:
        return "01"[inverted]
    whole = min((change & -change).bit_length() - 1 for change in changes)  # the bits below do not matter
    if len(word) - whole <= (LUT_SIZE if len(changes) == 1 else ENUMERATED):
        values = np.arange(2 ** (len(word) - whole))
        entries = np.searchsorted(np.sort(changes) >> whole, values, side="right") & 1 ^ inverted
        read = [bit for bit in range(len(word) - whole) if (entries != entries[values ^ 1 << bit]).any()]
        if len(read) <= LUT_SIZE:
            address = sum((np.arange(2 ** len(read)) >> position & 1) << bit for position, bit in enumerate(read))
            init = sum(1 << entry for entry in np.flatnonzero(entries[address]).tolist())
            return tables.add(init, [word[whole + bit] for bit in read])
    return add_parity(tables, [_add_comparison(tables, change - 1, word) for change in changes], inverted)


def _add_comparison(tables: Tables, limit: int, word: Sequence[str]) -> str:
    """`word > limit`."""
    carry: list[str] = []
    for read, init in comparison_tables(len(word), limit):
        carry = [tables.add(init, [*carry, *(word[bit] for bit in read)])]
    return carry[0]


def add_parity(tables: Tables, signals: list[str], inverted: bool) -> str:
    """Whether the number of ones is odd, or even where it is inverted."""
    while len(signals) > 1 or inverted:
        now, signals = signals[:LUT_SIZE], signals[LUT_SIZE:]
        last = not signals
        init = sum(1 << address for address in range(2 ** len(now)) if (address.bit_count() + (inverted and last)) % 2)
        inverted = inverted and not last
        signals.append(tables.add(init, now))
    return signals[0]
