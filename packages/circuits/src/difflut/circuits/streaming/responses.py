"""The responses of detectors in a stream: sums of channels, then of columns, then of lines, each made once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from difflut.circuits.arithmetic.features import add_sum
from difflut.circuits.arithmetic.tables import Tables
from difflut.circuits.circuit.detectors import separated
from difflut.circuits.circuit.sums import MOST

if TYPE_CHECKING:
    from difflut.encoders.detectors import Kernel
    from difflut.kernels import Placements

STAGES = "mixtures", "columns", "responses"  # names of modules


class Word(NamedTuple):
    """A whole number from `low` to `high`, in hardware the number less `lowest`, as in `WeightedSums.words`."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        return max(self.high, -self.low - 1).bit_length() + (self.low < 0)

    @property
    def lowest(self) -> int:
        return -(1 << self.bits - 1) if self.low < 0 else 0


class Term(NamedTuple):
    """What a sum adds: a word at a place of its window, times a weight."""

    word: int
    place: int
    weight: int


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of the words in a window, which goes on beyond the borders of an image as the outermost pixels.

    Attributes:
        name: Of the module.
        placements: The windows, one for each pixel; its channels are the words that are read.
        reads: The words that are read.
        terms: What each sum adds.
        gives: The words that the sums are.
    """

    name: str
    placements: "Placements"
    reads: list[Word]
    terms: list[list[Term]]
    gives: list[Word]

    @property
    def width(self) -> int:
        """Bits of a pixel of the window."""
        return sum(word.bits for word in self.reads)


def sum_tables(sums: Sums) -> tuple[Tables, list[str]]:
    """The tables of sums, which read the window `s`, and the bits of the words that they give."""
    places = math.prod(sums.placements.kernel)
    tables, names, outputs = Tables("t"), bit_names("s", [word.bits for word in sums.reads] * places), []
    for terms, made in zip(sums.terms, sums.gives, strict=True):
        added = [
            (names[place * len(sums.reads) + word], sums.reads[word].lowest, weight) for word, place, weight in terms
        ]
        outputs += add_sum(tables, added, made.lowest, made.bits)
    return tables, outputs


def bit_names(port: str, widths: Sequence[int]) -> list[list[str]]:
    """The bits of words that a port has one behind the other, the lowest first."""
    ends = accumulate(widths)
    return [[f"{port}[{bit}]" for bit in range(end - width, end)] for end, width in zip(ends, widths, strict=True)]


def streamed_sums(kernels: "Sequence[Kernel]", shape: Sequence[int], read: Sequence[int]) -> list[Sums]:
    """From the words of a pixel's channels to those of its features: the channels themselves, and the responses.

    A window's columns that are a multiple of one another are one sum of a column, which is made when the column comes,
    and then moves with it.

    Args:
        shape: Shape of an image: `(height, width, channels)`.
        read: The features that are read, ascending.
    """
    height, width, channels = shape
    weights = _weights(kernels, channels)[list(read)]
    mixtures: dict[tuple[int, ...], int] = {}
    columns: dict[tuple[int, tuple[int, ...]], int] = {}
    responses = []
    for kernel in weights:
        terms = []
        for mixture, points in separated(kernel):
            mixed = mixtures.setdefault(tuple(mixture.tolist()), len(mixtures))
            for place in np.flatnonzero(points.any(0)).tolist():
                column = points[:, place]
                weight = int(np.gcd.reduce(column) * np.sign(column[np.flatnonzero(column)[0]]))
                alone = tuple((column // weight).tolist())
                terms.append(Term(columns.setdefault((mixed, alone), len(columns)), place, weight))
        responses.append(terms)
    mixed_terms = [[Term(word, 0, weight) for word, weight in enumerate(one) if weight] for one in mixtures]
    column_terms = [[Term(word, place, weight) for place, weight in enumerate(points) if weight]
                    for word, points in columns]  # fmt: skip
    stages: list[Sums] = []
    words = [Word(0, MOST)] * channels
    _, _, high, wide = weights.shape
    kernel_sizes, all_terms = ((1, 1), (high, 1), (1, wide)), (mixed_terms, column_terms, responses)
    for name, kernel, terms_of in zip(STAGES, kernel_sizes, all_terms, strict=True):
        stages.append(_sums(name, (height, width), kernel, words, terms_of))
        words = stages[-1].gives
    return stages


def _weights(kernels: "Sequence[Kernel]", channels: int) -> np.ndarray:
    """A kernel for each feature, the pixel that it belongs to in the middle: `(features, channels, height, width)`."""
    from difflut.encoders.responses import bank

    detectors = bank(kernels, channels)
    borders = []
    for before, after in ((detectors.above, detectors.below), (detectors.left, detectors.right)):
        reach = max(before, after)
        borders.append((reach - before, reach - after))
    placed = np.pad(detectors.weights.numpy(), ((0, 0), (0, 0), *borders))
    alone = np.zeros((channels, *placed.shape[1:]), np.int64)
    alone[..., placed.shape[2] // 2, placed.shape[3] // 2] = np.eye(channels)
    return np.concatenate([alone, placed])


def _sums(
    name: str, size: tuple[int, int], kernel: tuple[int, int], reads: list[Word], terms: list[list[Term]]
) -> Sums:
    from difflut.kernels import Placements

    gives = []
    for one in terms:
        ends = [sorted((term.weight * reads[term.word].low, term.weight * reads[term.word].high)) for term in one]
        gives.append(Word(*(sum(end) for end in zip(*ends, strict=True))))
    padding = kernel[0] // 2, kernel[1] // 2
    return Sums(name, Placements(len(reads), *size, kernel, padding=padding), reads, terms, gives)
