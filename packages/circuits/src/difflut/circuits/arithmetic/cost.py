"""What a circuit costs in 6-input LUTs, estimated in a fraction of a second without any tool."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.arithmetic.comparisons import comparison_tables, encoder_bits
from difflut.circuits.arithmetic.compressors import compress, is_compressed
from difflut.circuits.arithmetic.counting import class_columns
from difflut.circuits.arithmetic.words import InputWords, fixed_point_words
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.split import LUT_SIZE, split


@dataclass(frozen=True)
class Cost:
    """6-input LUTs of a circuit: `total` is all of it; `core`, which papers quote, leaves the encoder out.

    Attributes:
        layers: LUTs of the nodes in each layer, wide tables split.
        popcount: LUTs that count the ones of each class.
        argmax: LUTs that find the highest count.
        encoder: LUTs that compare words with thresholds.
        depth: LUTs on the longest path through the core.
    """

    layers: list[int]
    popcount: int
    argmax: int
    encoder: int
    depth: int

    @property
    def tables(self) -> int:
        return sum(self.layers)

    @property
    def core(self) -> int:
        return self.tables + self.popcount + self.argmax

    @property
    def total(self) -> int:
        return self.core + self.encoder

    def __str__(self) -> str:
        return (
            f"{self.total:,} LUT6 (tables {self.tables:,}, popcount {self.popcount:,}, argmax {self.argmax:,}, "
            f"encoder {self.encoder:,})"
        )


def estimate_cost(circuit: Circuit, words: InputWords | None = None) -> Cost:
    """Counts nodes, compressors and comparisons as they are written, and adders and argmax by rules fitted to Yosys.

    Against Yosys' mapping (`synthesize`), LUTs and depth of the core, and LUTs of the encoder:

    | network | core | Yosys | depth | Yosys | encoder | Yosys |
    |---|--:|--:|--:|--:|--:|--:|
    | MNIST, 2000 + 1000 of 6 inputs, 3 thresholds | 4231 | 4235 | 20 | 20 | 2283 | 2271 |
    | MNIST, 4 x 4000 gates, simplified | 8091 | 8106 | 25 | 27 | 311 | 311 |
    | 16 floats of 20 thresholds, 360 of 6 inputs, 5 classes | 790 | 787 | 15 | 14 | 1976 | 1976 |
    | 10 floats, 8 Gray bits, 100 of 6 inputs, 4 classes | 236 | 233 | 9 | 9 | 14477 | 14574 |
    | 10 floats, 8 binary bits, 60 + 51 of 8 inputs, 3 classes | 633 | 639 | 13 | 12 | 14967 | 15232 |
    | 20 floats of 8 thresholds, 2000 of 6 inputs, 20 classes | 4485 | 4490 | 22 | 22 | 910 | 910 |

    Args:
        words: Of the inputs; None is `fixed_point_words(circuit)`.
    """
    words = fixed_point_words(circuit) if words is None else words
    hard = split(circuit)
    width = max(int(circuit.max_counts.max()).bit_length(), 1)
    popcount, levels = _popcount(circuit, width)
    matches = _matches(circuit.num_classes)
    # A match compares two counts and chooses one; labels grow by a bit a round, and those of the first cost nothing.
    argmax = sum(
        number * (width - 1 + width * (after < len(matches)) + after * (after > 1))
        for after, number in enumerate(matches, start=1)
    )
    rounds = len(matches) * (2 if width <= 5 else 3) - (width > 5) if matches else 0
    layers = np.bincount(hard.layers).tolist()
    return Cost(layers, popcount, argmax, _encoder(circuit, words), _depth(hard) + levels + 1 + rounds)


def _popcount(circuit: Circuit, width: int) -> tuple[int, int]:
    """LUTs and levels of the compressors and the addition behind them."""
    names = {signal: str(signal) for signal in circuit.outputs.tolist()}
    luts, most = 0, 0
    for columns in class_columns(circuit, names):
        level = 0
        while not is_compressed(columns):
            compressors, columns = compress(columns, f"c{level}_")
            luts += sum(len(found.outputs) for found in compressors)
            level += 1
        first = next((weight for weight, column in enumerate(columns) if len(column) == 2), width)
        digits = width - first
        luts, most = luts + digits + max(digits - 5, 0), max(most, level)
    return luts, most


def _matches(num_classes: int) -> list[int]:
    """Matches in each round of a tournament."""
    rounds = []
    while num_classes > 1:
        rounds.append(num_classes // 2)
        num_classes -= num_classes // 2
    return rounds


def _encoder(circuit: Circuit, words: InputWords) -> int:
    bits = encoder_bits(circuit)
    limits = words.limits[tuple(bits.comparisons.T)].tolist()
    chains: set[tuple[int, ...]] = set()  # comparisons of a feature share what they begin with
    for feature, limit in zip(bits.comparisons[:, 0].tolist(), limits, strict=True):
        tables, chain = comparison_tables(words.width, limit), (feature,)
        for read, init in tables:
            chain += (read.start, init)
            chains |= {chain} if len(read) > 1 or len(tables) > 1 else set()  # one bit needs no table
    return len(chains) + sum(-(-(len(terms) - 1) // (LUT_SIZE - 1)) for terms in bits.terms if len(terms) > 1)


def _depth(circuit: Circuit) -> int:
    depth = np.zeros(circuit.num_signals + 1, int)  # the last is that of a pin without input
    for rows in circuit.layer_slices():
        outputs = slice(circuit.num_inputs + rows.start, circuit.num_inputs + rows.stop)
        depth[outputs] = depth[circuit.wiring[rows]].max(1, initial=0) + 1
    return int(depth[circuit.outputs].max(initial=0))
