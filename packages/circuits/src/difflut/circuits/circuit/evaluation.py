"""Circuits in numpy: 64 samples a word, and all LUTs of a layer with the same few operations."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from difflut.circuits.circuit.circuit import Circuit

WORD = 64
MOST_WORDS = 16  # words of a block, 1024 samples
ROOM = 2**24  # words that all signals of a block may take: 128 MiB
CACHED = 2**17  # words of the tables that are evaluated together: they should stay in a core's cache


def block_size(circuit: "Circuit") -> int:
    """Samples that are evaluated together."""
    return WORD * int(np.clip(ROOM // max(circuit.num_signals, 1), 1, MOST_WORDS))


def packed_inputs(circuit: "Circuit", x: np.ndarray) -> np.ndarray:
    """The bits of the encoder, bit i of a word being that of sample i: `(inputs, words)` uint64.

    A bit changes with each threshold at which the code book does.
    """
    features, codes = np.ascontiguousarray(circuit.features(x).T), circuit.codebook
    bits = np.empty((circuit.num_features, codes.shape[1], -(-len(x) // WORD)), np.uint64)
    bits[:] = np.where(codes[0], ~np.uint64(0), np.uint64(0))[:, None]
    for threshold, changes in zip(circuit.thresholds.T, codes[1:] ^ codes[:-1], strict=True):
        above = packed(features > threshold[:, None])
        for bit in np.flatnonzero(changes):
            bits[:, bit] ^= above
    return bits.reshape(circuit.num_inputs, bits.shape[2])


def packed_signals(circuit: "Circuit", x: np.ndarray) -> np.ndarray:
    """All signals, bit i of a word being that of sample i: `(signals, words)` uint64."""
    encoded = packed_inputs(circuit, x)
    values = np.empty((circuit.num_signals, encoded.shape[1]), np.uint64)
    values[: circuit.num_inputs] = encoded
    n, words = circuit.wiring.shape[1], encoded.shape[1]
    step = max(CACHED // max(words << max(n - 1, 0), 1), 1)
    for rows in circuit.layer_slices():
        for start in range(rows.start, rows.stop, step):
            luts = slice(start, min(start + step, rows.stop))
            made = slice(circuit.num_inputs + luts.start, circuit.num_inputs + luts.stop)
            values[made] = _looked_up(circuit.tables[circuit.table_of[luts]], circuit.wiring[luts], values)
    return values


def _looked_up(tables: np.ndarray, wiring: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Halves the tables pin by pin, the least significant first, until one word of each is left."""
    chosen = -tables.astype(np.int64)[..., None].view(np.uint64)  # (luts, 2**n, 1): all bits of an entry's word
    for pins in wiring.T:  # tables do not depend on pins of -1, whichever signal is read
        low, high = chosen[:, ::2], chosen[:, 1::2]
        chosen = low ^ ((low ^ high) & values[pins][:, None])
    return chosen[:, 0]


def packed(bits: np.ndarray) -> np.ndarray:
    """`(rows, samples)` booleans to `(rows, words)` uint64, the last word filled up with zeros."""
    octets = np.packbits(bits, axis=1, bitorder="little")
    return np.ascontiguousarray(np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8)))).view("<u8")


def unpacked(words: np.ndarray, samples: int) -> np.ndarray:
    """`(rows, words)` uint64 to `(rows, samples)` booleans."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=samples, bitorder="little").astype(bool)


def count_ones(circuit: "Circuit", x: np.ndarray) -> np.ndarray:
    """The count of each class, the bias included: `(batch, classes)` integers."""
    order = np.argsort(circuit.groups, kind="stable")
    present, starts = np.unique(circuit.groups[order], return_index=True)
    counts = np.broadcast_to(circuit.bias, (len(x), circuit.num_classes)).astype(np.int64)
    size = block_size(circuit)
    for start in range(0, len(x), size):
        part = x[start : start + size]
        votes = unpacked(packed_signals(circuit, part)[circuit.outputs[order]], len(part))
        votes ^= circuit.inverted[order, None]
        if len(present):
            counts[start : start + size, present] += np.add.reduceat(votes, starts, axis=0, dtype=np.int64).T
    return counts
