"""The text of Verilog modules: what all are made of, the encoder and the layers."""

import numpy as np

from difflut.circuits.arithmetic.comparisons import EncoderBits, comparison_tables
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit

CLOCK = "input clk"
ZERO, ONE = "1'b0", "1'b1"


def module(name: str, ports: list[str], body: list[str]) -> str:
    """A module of ports and statements."""
    return "\n".join([f"module {name} (", *(f"    {port}," for port in ports[:-1]), f"    {ports[-1]}", ");",
                      *(f"    {line}" for line in body), "endmodule", ""])  # fmt: skip


def vector(direction: str, width: int, name: str) -> str:
    return f"{direction} [{max(width, 1) - 1}:0] {name}"


def encoder(circuit: Circuit, bits: EncoderBits, words: InputWords) -> str:
    """Words to the bits that are read: comparisons, and their exclusive or where the code book asks for it."""
    lines = [f"wire exceeds{index};" for index in range(len(bits.comparisons))]
    for index, (feature, threshold) in enumerate(bits.comparisons.tolist()):
        word = [f"x[{feature * words.width + bit}]" for bit in range(words.width)]
        lines += _comparison(f"exceeds{index}", f"c{index}_", word, int(words.limits[feature, threshold]))
    outputs = [
        " ^ ".join([f"exceeds{term}" for term in terms] + [ONE] * bool(inverted) or [ZERO])
        for terms, inverted in zip(bits.terms, bits.inverted, strict=True)
    ]
    lines.append(_together(outputs))
    ports = [vector("input", circuit.num_features * words.width, "x"), vector("output", len(bits.signals), "y")]
    return module("encoder", ports, lines)


def _comparison(output: str, prefix: str, word: list[str], limit: int) -> list[str]:
    """Statements for `output = word > limit`."""
    tables, lines, carry = comparison_tables(len(word), limit), [], []
    for number, (bits, init) in enumerate(tables):
        last = number == len(tables) - 1
        name = output if last else f"{prefix}{number}"
        lines += [f"wire {name};"] * (not last)
        lines.append(instance(f"{prefix}lut{number}", init, carry + [word[bit] for bit in bits], name))
        carry = [name]
    return lines or [f"assign {output} = 1'b{int(limit < 0)};"]


def layer(circuit: Circuit, name: str, luts: slice, reads: list[int], gives: list[int]) -> str:
    """One layer: `reads` are the signals of its input `s`, `gives` those of its output `y`; some just pass."""
    names = {signal: f"s[{index}]" for index, signal in enumerate(reads)}
    lines = []
    for lut in range(luts.start, luts.stop):
        inputs = [names[pin] for pin in circuit.wiring[lut].tolist() if pin >= 0]
        init = sum(1 << address for address in np.flatnonzero(circuit.connected_table(lut)).tolist())
        lines += [f"wire y{lut};", instance(f"lut{lut}", init, inputs, f"y{lut}")]
        names[circuit.num_inputs + lut] = f"y{lut}"
    lines.append(_together([names[signal] for signal in gives]))
    return module(name, [vector("input", len(reads), "s"), vector("output", len(gives), "y")], lines)


def _together(bits: list[str]) -> str:
    """The statement that gives all bits of the output `y`.

    One driver instead of one a bit: at each change of a bit, Icarus wakes all that read a bit of the same vector.
    """
    return f"assign y = {{{', '.join(reversed(bits or [ZERO]))}}};"


def instance(name: str, init: int, inputs: list[str], output: str) -> str:
    """A table; the first input is the least significant bit of the address."""
    if init in (0, 2**2 ** len(inputs) - 1):
        return f"assign {output} = 1'b{init & 1};"
    if len(inputs) == 1 and init in (0b01, 0b10):
        return f"assign {output} = {'~' * (init == 0b01)}{inputs[0]};"
    address = ", ".join(reversed(inputs))
    return f"lut #(.N({len(inputs)}), .INIT({2 ** len(inputs)}'h{init:x})) {name} (.a({{{address}}}), .y({output}));"
