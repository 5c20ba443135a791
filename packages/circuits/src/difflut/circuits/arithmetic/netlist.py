"""A whole circuit as one list of tables, from the bits of its input words to counts and class."""

from dataclasses import dataclass

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.encoding import add_encoder
from difflut.circuits.arithmetic.features import FeatureWords
from difflut.circuits.arithmetic.head import add_counts, add_tournament, count_width
from difflut.circuits.arithmetic.tables import Table, Tables
from difflut.circuits.arithmetic.words import InputWords, fixed_point_words
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.split import split


@dataclass(frozen=True)
class Netlist:
    """Tables of two to six inputs; signals are named as `Tables` names them.

    Attributes:
        inputs: The bits of the words, those of input 0 first, of each the lowest first.
        tables: Each after those that it reads.
        counts: The bits of each class's count, those of class 0 first, of each the lowest first.
        winner: The bits of the class of the highest count, the lowest such class on ties; the lowest bit first.
    """

    inputs: list[str]
    tables: list[Table]
    counts: list[str]
    winner: list[str]

    @property
    def ports(self) -> tuple[list[str], list[str]]:
        """Names of inputs and outputs: `x[0]`, …; `counts[0]`, …, `winner[0]`, …"""
        outputs = [f"{name}[{bit}]" for name in ("counts", "winner") for bit in range(len(getattr(self, name)))]
        return [f"x[{bit}]" for bit in range(len(self.inputs))], outputs


def netlist(circuit: Circuit, words: InputWords | None = None) -> Netlist:
    """The tables of encoder, LUTs, popcount and argmax; equal ones are there once.

    Args:
        words: Form of the inputs; None is `fixed_point_words(circuit)`.
    """
    words, circuit, tables = words or fixed_point_words(circuit), split(circuit), Tables("t")
    inputs = [f"x{bit}" for bit in range(circuit.sample_size * words.width)]
    bits = encoder_bits(circuit)
    features = FeatureWords(tables, circuit, words, inputs)
    names = dict(zip(bits.signals.tolist(), add_encoder(tables, bits, words, features), strict=True))
    for lut in range(circuit.num_luts):
        init, pins = circuit.cell(lut)
        names[circuit.num_inputs + lut] = tables.add(init, [names[pin] for pin in pins])
    counts, width = add_counts(tables, circuit, names), count_width(circuit)
    winner = add_tournament(tables, counts)
    digits = [digit for count in counts for digit in count + ["0"] * (width - len(count))]
    return Netlist(inputs, tables.flat, digits, winner)
