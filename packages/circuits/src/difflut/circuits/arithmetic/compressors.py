"""Counting ones with tables: each 6:3 compressor takes three bits out of a column for three 6-input LUTs."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

POPCOUNT = [address.bit_count() for address in range(64)]
Columns = list[list[str]]  # names of bits by weight: those of column k count 2**k; "~" before a name inverts it


@dataclass(frozen=True)
class Compressor:
    """Bits of one weight to their sum: output `k` has the table `tables[k]` and `2**k` times their weight."""

    inputs: list[str]
    outputs: list[str]
    tables: list[int]


def columns_of(bits: Iterable[tuple[str, int]]) -> Columns:
    """Bits and how often each counts, by weight."""
    bits = list(bits)
    width = max([often for _, often in bits], default=1).bit_length()
    return [[name for name, often in bits if often >> weight & 1] for weight in range(width)]


def is_compressed(columns: Columns) -> bool:
    """Whether one addition is left to do: at most two bits of each weight."""
    return all(len(column) <= 2 for column in columns)


def compress(columns: Columns, prefix: str) -> tuple[list[Compressor], Columns]:
    """One level of compressors, none of which reads another.

    Args:
        columns: The bits to count.
        prefix: Begins the names of new bits.

    Returns:
        The compressors, and the bits that have the same sum.
    """
    after: Columns = [[] for _ in range(len(columns) + 2)]
    found, names = [], count()
    for weight, column in enumerate(columns):
        while len(column) > 2:
            size = 6 if len(column) >= 6 else 3
            compressor = _compressor(column[:size], [f"{prefix}{next(names)}" for _ in range(2 if size == 3 else 3)])
            found.append(compressor)
            for k, output in enumerate(compressor.outputs):
                after[weight + k].append(output)
            column = column[size:]
        after[weight] += column
    while len(after) > 1 and not after[-1]:
        after.pop()
    return found, after


def _compressor(bits: list[str], outputs: list[str]) -> Compressor:
    inverted = sum(1 << position for position, bit in enumerate(bits) if bit.startswith("~"))
    tables = [
        sum((POPCOUNT[address ^ inverted] >> k & 1) << address for address in range(2 ** len(bits)))
        for k in range(len(outputs))
    ]
    return Compressor([bit.removeprefix("~") for bit in bits], outputs, tables)
