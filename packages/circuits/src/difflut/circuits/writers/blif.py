"""A circuit in Berkeley's logic format, straight from its arrays; a proof compares the netlist with it."""

import numpy as np

from difflut.circuits.arithmetic.comparisons import comparison_tables, encoder_bits
from difflut.circuits.arithmetic.features import FeatureWords
from difflut.circuits.arithmetic.head import GREATER, add_counts, count_width, has_chains, index_width
from difflut.circuits.arithmetic.tables import CHOOSE, Tables
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit


class Blif:
    """Tables under construction; names of signals are chosen by the caller or made up."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._made = 0

    def table(self, init: int, inputs: list[str], output: str | None = None) -> str:
        """Adds a table, the first input the least significant address bit; "~" inverts an input. Returns its output."""
        self._made += output is None
        output = output or f"n{self._made}"
        inverted = sum(1 << position for position, name in enumerate(inputs) if name.startswith("~"))
        # Written as Yosys does, so that ABC finds equal tables at once; inputs that no entry reads are left out.
        inputs = inputs[::-1] if init else []
        self.lines.append(f".names {' '.join([*(name.removeprefix('~') for name in inputs), output])}")
        for address in range(2 ** len(inputs)):
            if init >> (address ^ inverted) & 1:
                bits = "".join(str(address >> position & 1) for position in reversed(range(len(inputs))))
                self.lines.append(f"{bits} 1".strip())
        return output

    def add(self, tables: Tables) -> None:
        for table in tables.flat:
            self.table(table.init, list(table.inputs), table.output)

    def constant(self, bit: int) -> str:
        return self.table(bit, [])

    def text(self, name: str, inputs: list[str], results: list[str], outputs: list[str]) -> str:
        """The whole file: `results` are what the `outputs` are."""
        for output, result in zip(outputs, results, strict=True):
            self.table(0b10, [result], output)
        header = [f".model {name}", f".inputs {' '.join(inputs)}", f".outputs {' '.join(outputs)}"]
        return "\n".join([*header, *self.lines, ".end", ""])


def encoder_blif(circuit: Circuit, words: InputWords) -> str:
    """The encoder alone, with the ports of the Verilog module `encoder`; sums are added by the same compressors."""
    blif, x = Blif(), _port("x", circuit.sample_size * words.width)
    bits, tables = encoder_bits(circuit), Tables("sum")
    features = FeatureWords(tables, circuit, words, x)
    compared = {feature: features[feature] for feature in np.unique(bits.comparisons[:, 0]).tolist()}
    blif.add(tables)
    constants = {"0": blif.constant(0), "1": blif.constant(1)}
    exceeds = []
    for feature, threshold in bits.comparisons.tolist():
        limit = int(words.limits[feature, threshold])
        word = [constants.get(bit, bit) for bit in compared[feature]]
        carry: list[str] = []
        for read, init in comparison_tables(len(word), limit):
            carry = [blif.table(init, carry + [word[bit] for bit in read])]
        exceeds.append(carry[0] if carry else blif.constant(limit < 0))
    y = []
    for terms, inverted in zip(bits.terms, bits.inverted.tolist(), strict=True):
        y.append(blif.constant(int(inverted)))
        for term in terms:
            y[-1] = blif.table(0b0110, [y[-1], exceeds[term]])
    return blif.text("encoder", x, y, _port("y", len(y)))


def core_blif(circuit: Circuit, head: str = "tables") -> str:
    """All but the encoder, with the ports of the Verilog module `core` of such a head."""
    blif = Blif()
    signals = encoder_bits(circuit).signals.tolist()
    s = _port("s", len(signals))
    names = dict(zip(signals, s, strict=True))
    for lut in range(circuit.num_luts):
        init, pins = circuit.cell(lut)
        names[circuit.num_inputs + lut] = blif.table(init, [names[pin] for pin in pins])
    counts = _counts(blif, circuit, names, head)
    winner = _argmax(blif, counts, index_width(circuit.num_classes))
    digits = [digit for count in counts for digit in count]
    ports = [*_port("counts", len(digits)), *_port("winner", len(winner))]
    return blif.text("core", s, digits + winner, ports)


def _port(name: str, width: int) -> list[str]:
    """The bits of a port as Yosys calls them."""
    return [name] if width == 1 else [f"{name}[{bit}]" for bit in range(width)]


def _counts(blif: Blif, circuit: Circuit, names: dict[int, str], head: str) -> list[list[str]]:
    """The bits of each class's count, the lowest first: by the same compressors as in the Verilog.

    A prover cannot handle another sum; tests show that compressors keep the sum. The tournament is written anew.
    """
    tables, zero, one = Tables("count", has_chains(head)), blif.constant(0), blif.constant(1)
    counts = add_counts(tables, circuit, names)
    blif.add(tables)
    constants, width = {"0": zero, "1": one}, count_width(circuit)
    return [[constants.get(digit, digit) for digit in count] + [zero] * (width - len(count)) for count in counts]


def _argmax(blif: Blif, counts: list[list[str]], label: int) -> list[str]:
    """The bits of the class, by the same tournament as in the Verilog, since another one takes a prover long."""
    best = [(count, [blif.constant(number >> bit & 1) for bit in range(label)]) for number, count in enumerate(counts)]
    while len(best) > 1:
        pairs, best = best, []
        for (count, index), (other, other_index) in zip(pairs[::2], pairs[1::2], strict=False):
            leaves = blif.constant(0)
            for pair in zip(count, other, strict=True):
                leaves = blif.table(GREATER, [*pair, leaves])
            rows = zip(count + index, other + other_index, strict=True)
            chosen = [blif.table(CHOOSE, [*pair, leaves]) for pair in rows]
            best.append((chosen[: len(count)], chosen[len(count) :]))
        best += pairs[len(pairs) & ~1 :]
    return best[0][1]
