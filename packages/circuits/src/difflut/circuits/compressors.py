"""Counting ones with tables: each 6:3 compressor takes three bits out of a column for three 6-input LUTs."""

from collections import defaultdict
from dataclasses import dataclass

POPCOUNT = [address.bit_count() for address in range(64)]


@dataclass(frozen=True)
class Compressor:
    """Bits of one weight to their sum: output `k` has the table `tables[k]` and `2**k` times their weight."""

    inputs: list[str]
    outputs: list[str]
    tables: list[int]


def compress(bits: list[str], prefix: str) -> tuple[list[Compressor], list[list[str]]]:
    """Compressors until at most two bits of each weight are left.

    Args:
        bits: Names of the bits to count.
        prefix: Begins the names of new bits.

    Returns:
        The compressors in the order in which they follow from one another, and the bits that are left by weight.
    """
    columns, found, count = {0: bits}, [], 0
    while max(map(len, columns.values())) > 2:
        after: dict[int, list[str]] = defaultdict(list)
        for weight, column in sorted(columns.items()):
            while len(column) > 2:
                size = 6 if len(column) >= 6 else 3
                outputs = [f"{prefix}{count + k}" for k in range(2 if size == 3 else 3)]
                count += len(outputs)
                tables = [sum((POPCOUNT[a] >> k & 1) << a for a in range(2**size)) for k in range(len(outputs))]
                found.append(Compressor(column[:size], outputs, tables))
                for k, output in enumerate(outputs):
                    after[weight + k].append(output)
                column = column[size:]
            after[weight] += column
        columns = after
    return found, [columns.get(weight, []) for weight in range(max(columns) + 1)]
