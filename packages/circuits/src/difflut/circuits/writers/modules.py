"""The text of Verilog modules: their common parts, the encoder and the layers."""

from collections.abc import Mapping, Sequence

from difflut.circuits.arithmetic.comparisons import EncoderBits
from difflut.circuits.arithmetic.encoding import add_encoder
from difflut.circuits.arithmetic.features import FeatureWords
from difflut.circuits.arithmetic.tables import Table, Tables, plain
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit

CLOCK = "input clk"
ZERO, ONE = "1'b0", "1'b1"
BITS_A_LINE = 16


def module(name: str, ports: list[str], body: list[str]) -> str:
    """A module of ports and statements."""
    return "\n".join([f"module {name} (", *(f"    {port}," for port in ports[:-1]), f"    {ports[-1]}", ");",
                      *(f"    {line}" for line in body), "endmodule", ""])  # fmt: skip


def vector(direction: str, width: int, name: str) -> str:
    return f"{direction} [{max(width, 1) - 1}:0] {name}"


def encoder(circuit: Circuit, bits: EncoderBits, words: InputWords) -> str:
    """Words to the bits that are read."""
    inputs, tables = circuit.sample_size * words.width, Tables("t")
    features = FeatureWords(tables, circuit, words, [f"x[{bit}]" for bit in range(inputs)])
    outputs = add_encoder(tables, bits, words, features)
    lines = [line for table in tables.flat for line in table_lines(table, {})]
    lines.append(together([literal(output, {}) for output in outputs]))
    return module("encoder", [vector("input", inputs, "x"), vector("output", len(outputs), "y")], lines)


def table_lines(table: Table, names: dict[str, str]) -> list[str]:
    """A table's wire and instance; `names` are those of inputs that are called otherwise."""
    inputs = [names.get(signal, signal) for signal in table.inputs]
    return [f"wire {table.output};", instance(f"lut_{table.output}", table.init, inputs, table.output)]


def literal(signal: str, names: Mapping[str, str]) -> str:
    """A signal, inverted signal or constant as Verilog has it."""
    if signal in ("0", "1"):
        return ONE if signal == "1" else ZERO
    return "~" * signal.startswith("~") + names.get(plain(signal), plain(signal))


def layer(circuit: Circuit, name: str, luts: slice, reads: list[int], gives: list[int]) -> str:
    """One layer: `reads` are the signals of its input `s`, `gives` those of its output `y`; some just pass."""
    names = {signal: f"s[{index}]" for index, signal in enumerate(reads)}
    lines = lut_lines(circuit, luts, names)
    lines.append(together([names[signal] for signal in gives]))
    return module(name, [vector("input", len(reads), "s"), vector("output", len(gives), "y")], lines)


def lut_lines(circuit: Circuit, luts: slice, names: dict[int, str]) -> list[str]:
    """The wire and instance of each LUT; `names` are those of signals, to which theirs are added."""
    lines = []
    for lut in range(luts.start, luts.stop):
        init, pins = circuit.cell(lut)
        lines += [f"wire y{lut};", instance(f"lut{lut}", init, [names[pin] for pin in pins], f"y{lut}")]
        names[circuit.num_inputs + lut] = f"y{lut}"
    return lines


def together(bits: list[str]) -> str:
    """The statement that gives all bits of the output `y`.

    It is one driver instead of one for each bit, since at each change of a bit Icarus wakes all readers of the vector.
    """
    return f"assign y = {concatenation(bits or [ZERO])};"


def concatenation(bits: Sequence[str]) -> str:
    """Bits as one vector, the first the lowest; in lines, since Verilator reads no line of some ten thousand bits."""
    lines = [", ".join(bits[start : start + BITS_A_LINE][::-1]) for start in range(0, len(bits), BITS_A_LINE)]
    return "{" + ",\n        ".join(reversed(lines)) + "}"


def instance(name: str, init: int, inputs: Sequence[str], output: str) -> str:
    """A table; the first input is the least significant bit of the address."""
    if init in (0, 2**2 ** len(inputs) - 1):
        return f"assign {output} = 1'b{init & 1};"
    if len(inputs) == 1 and init in (0b01, 0b10):
        return f"assign {output} = {'~' * (init == 0b01)}{inputs[0]};"
    return lut_instance(name, init, inputs, output)


def lut_instance(name: str, init: int, inputs: Sequence[str], output: str) -> str:
    """A table that takes a LUT whatever it comes to."""
    address = ", ".join(reversed(inputs))
    return f"lut #(.N({len(inputs)}), .INIT({2 ** len(inputs)}'h{init:x})) {name} (.a({{{address}}}), .y({output}));"
