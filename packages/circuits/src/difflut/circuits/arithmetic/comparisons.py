"""The bits of the encoder that a circuit reads, and how each of them follows from comparisons."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.split import LUT_SIZE


@dataclass(frozen=True)
class EncoderBits:
    """The bits of the encoder that a circuit reads, each an exclusive or of comparisons.

    Thresholds ascend, so the comparisons `x > t` that hold are the first `level` of them; a bit changes with comparison
    `k` where the code book differs between levels `k` and `k + 1`.

    Attributes:
        signals: The signals that are read, ascending: `(bits,)`.
        terms: Comparisons of each of them, as rows of `comparisons`.
        inverted: The value at the lowest level: `(bits,)` booleans.
        comparisons: Feature and threshold index of every comparison that is needed: `(comparisons, 2)`.
    """

    signals: np.ndarray
    terms: list[list[int]]
    inverted: np.ndarray
    comparisons: np.ndarray


def encoder_bits(circuit: Circuit, signals: np.ndarray | None = None) -> EncoderBits:
    """The bits of the encoder that LUTs or outputs read, or those of other signals."""
    signals = circuit.read_inputs() if signals is None else signals
    features, bits = np.divmod(signals, circuit.codebook.shape[1])
    changes = circuit.codebook[1:] ^ circuit.codebook[:-1]  # (K, bits)
    indices = [np.flatnonzero(column).tolist() for column in changes.T]
    comparisons: dict[tuple[int, int], int] = {}
    terms = [
        [comparisons.setdefault((feature, index), len(comparisons)) for index in indices[bit]]
        for feature, bit in zip(features.tolist(), bits.tolist(), strict=True)
    ]
    pairs = np.array(list(comparisons), np.intp).reshape(-1, 2)
    return EncoderBits(signals, terms, circuit.codebook[0, bits], pairs)


def comparison_tables(width: int, limit: int) -> list[tuple[range, int]]:
    """Tables that say in turn whether the lower bits of a word exceed those of `limit`; the last one decides.

    Returns:
        For each table the bits of the word that it reads and its content; all but the first also read the table before,
            as their first input. There are no tables if all words exceed the limit, or none does.
    """
    if not 0 <= limit < 2**width - 1:
        return []
    start = (~limit & (limit + 1)).bit_length() - 1  # ones at the end of the limit do not matter
    tables: list[tuple[range, int]] = []
    while start < width:
        carries = bool(tables)
        bits = range(start, min(start + LUT_SIZE - carries, width))
        part = limit >> start & (1 << len(bits)) - 1
        exceeds = [
            address >> carries > part or (address >> carries == part and carries and address & 1)
            for address in range(2 ** (len(bits) + carries))
        ]
        tables.append((bits, sum(1 << address for address, value in enumerate(exceeds) if value)))
        start = bits.stop
    return tables
