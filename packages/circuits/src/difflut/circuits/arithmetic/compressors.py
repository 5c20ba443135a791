"""Counting ones with tables: a compressor takes up to six bits of neighbouring weights for the digits of their sum."""

from collections.abc import Iterable
from functools import lru_cache
from operator import add, le

from difflut.circuits.arithmetic.tables import Tables, plain

Columns = list[list[str]]  # signals by weight: those of column k count 2**k
Shape = tuple[int, ...]  # how many bits a compressor takes of a column, of the next, and so on

# Only these two remove one bit for each of their tables. The others are for the last bits.
BEST: list[Shape] = [(6,), (5, 1)]
SHAPES: list[Shape] = [
    *BEST, (4, 2), (3, 3), (2, 2, 2), (5,), (4, 1), (3, 2), (2, 3), (3, 1), (2, 2), (3,), (2, 1), (2,),
]  # fmt: skip
MANY = 8  # bits of a column from which on six go into a compressor, whatever the other columns have
# Columns that the search for the next compressor looks at. Without this limit it takes minutes for the sums of large
# detectors, whose many columns all have bits; with it, votes of up to 2,000 a class took no table more.
AHEAD = 7


def columns_of(bits: Iterable[tuple[str, int]]) -> Columns:
    """Signals and how often each counts, by weight."""
    bits = list(bits)
    width = max([often for _, often in bits], default=1).bit_length()
    return [[name for name, often in bits if often >> weight & 1] for weight in range(width)]


def add_compressors(tables: Tables, columns: Columns, width: int) -> list[str]:
    """Adds compressors until each weight has one bit, by the fewest tables that a search finds.

    Against full adders and compressors of six bits alone, that is 8 to 26 % less.

    Args:
        columns: The bits to count; sums stay below `2**width`.

    Returns:
        The digits of the sum, the lowest first.
    """
    columns = [list(column) for column in columns[:width]] + [[] for _ in range(width - len(columns))]
    for weight in range(width):
        while len(columns[weight]) >= MANY:
            _add_compressor(tables, columns, weight, BEST[0])
    for weight in range(width):
        while len(columns[weight]) > 1:
            for column in columns:  # bits that are ready first are added first, which keeps paths short
                column.sort(key=lambda name: tables.depth[plain(name)])
            _add_compressor(tables, columns, weight, _cheapest(tuple(map(len, columns[weight : weight + AHEAD])))[1])
    return [column[0] if column else "0" for column in columns]


def _add_compressor(tables: Tables, columns: Columns, weight: int, shape: Shape) -> None:
    taken = []
    for column, bits in zip(columns[weight:], shape, strict=False):
        taken += column[:bits]
        del column[:bits]
    for digit, column in enumerate(columns[weight : weight + _num_digits(shape)]):
        signal = tables.add(_digit(shape, digit), taken)
        column += [signal] * (signal != "0")


def _num_digits(shape: Shape) -> int:
    return sum(bits << weight for weight, bits in enumerate(shape)).bit_length()


@lru_cache
def _digit(shape: Shape, digit: int) -> int:
    """The table of a digit of the sum."""
    weights = [1 << column for column, bits in enumerate(shape) for _ in range(bits)]
    sums = [
        sum(weight for position, weight in enumerate(weights) if address >> position & 1)
        for address in range(2 ** len(weights))
    ]
    return sum((total >> digit & 1) << address for address, total in enumerate(sums))


@lru_cache(maxsize=2**18)
def _cheapest(heights: tuple[int, ...]) -> tuple[int, Shape]:
    """The fewest tables that leave one bit in each column, and the first compressor of such a way.

    Compressors begin at the lowest column of more than one bit, and give bits to columns above. Digits beyond the
    highest column take no table: they are always 0 beyond the sum, and not looked at elsewhere.
    """
    if not heights:
        return 0, ()
    if heights[0] <= 1:
        return _cheapest(heights[1:])[0], ()
    ways: list[tuple[int, Shape]] = []
    for shape, taken, change, digits in _steps(len(heights), heights[0] >= BEST[0][0]):
        if all(map(le, taken, heights)):
            ways.append((digits + _cheapest(tuple(map(add, heights, change)))[0], shape))
    return min(ways, key=lambda way: way[0])


@lru_cache
def _steps(columns: int, is_high: bool) -> list[tuple[Shape, Shape, Shape, int]]:
    """Compressors: shape, the bits that it takes of each column, by how many each changes, and its tables."""
    steps = []
    for shape in BEST if is_high else SHAPES:
        if len(shape) <= columns:
            digits = min(_num_digits(shape), columns)
            taken = shape + (0,) * (columns - len(shape))
            change = tuple((column < digits) - bits for column, bits in enumerate(taken))
            steps.append((shape, taken, change, digits))
    return steps
