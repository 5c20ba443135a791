"""The text of each Verilog module."""

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.comparisons import EncoderBits
from difflut.circuits.compressors import compress
from difflut.circuits.words import InputWords


def module(name: str, ports: list[str], body: list[str]) -> str:
    """A module of ports and statements."""
    return "\n".join([f"module {name} (", *(f"    {port}," for port in ports[:-1]), f"    {ports[-1]}", ");",
                      *(f"    {line}" for line in body), "endmodule", ""])  # fmt: skip


def vector(direction: str, width: int, name: str) -> str:
    return f"{direction} [{max(width, 1) - 1}:0] {name}"


def encoder(circuit: Circuit, bits: EncoderBits, words: InputWords) -> str:
    """Words to the bits that are read: comparisons, and their exclusive or where the code book asks for it."""
    lines = [vector("wire", len(bits.comparisons), "exceeds") + ";"]
    for index, (feature, threshold) in enumerate(bits.comparisons.tolist()):
        limit = int(words.limits[feature, threshold])
        word = f"x[{feature * words.width} +: {words.width}]"
        value = f"{word} > {words.width}'d{limit}" if limit >= 0 else "1'b1"
        lines.append(f"assign exceeds[{index}] = {value};")
    for bit, (terms, inverted) in enumerate(zip(bits.terms, bits.inverted, strict=True)):
        values = [f"exceeds[{term}]" for term in terms] + ["1'b1"] * bool(inverted) or ["1'b0"]
        lines.append(f"assign y[{bit}] = {' ^ '.join(values)};")
    ports = [vector("input", circuit.num_features * words.width, "x"), vector("output", len(bits.signals), "y")]
    return module("encoder", ports, lines)


def layer(circuit: Circuit, name: str, luts: slice, reads: list[int], gives: list[int]) -> str:
    """One layer: `reads` are the signals of its input `s`, `gives` those of its output `y`; some just pass."""
    position = {signal: index for index, signal in enumerate(reads)}
    lines = []
    for index, signal in enumerate(gives):
        if signal in position:
            lines.append(f"assign y[{index}] = s[{position[signal]}];")
        else:
            lut = signal - circuit.num_inputs
            pins = [pin for pin in circuit.wiring[lut].tolist() if pin >= 0]
            init = sum(1 << address for address in np.flatnonzero(circuit.connected_table(lut)).tolist())
            lines.append(instance(f"lut{lut}", init, [f"s[{position[pin]}]" for pin in pins], f"y[{index}]"))
    return module(name, [vector("input", len(reads), "s"), vector("output", len(gives), "y")], lines)


def instance(name: str, init: int, inputs: list[str], output: str) -> str:
    """A table; the first input is the least significant bit of the address."""
    if not inputs:
        return f"assign {output} = 1'b{init};"
    address = ", ".join(reversed(inputs))
    return f"lut #(.N({len(inputs)}), .INIT({2 ** len(inputs)}'h{init:x})) {name} (.a({{{address}}}), .y({output}));"


def group_sum(circuit: Circuit, reads: list[int], width: int) -> str:
    """Bits to the counts of all classes, each `width` bits wide: compressors and one addition a class."""
    position = {signal: index for index, signal in enumerate(reads)}
    lines = []
    for number in range(circuit.num_classes):
        members = np.flatnonzero(circuit.groups == number)
        bits = [
            f"{'~' * int(circuit.inverted[member])}s[{position[int(circuit.outputs[member])]}]" for member in members
        ]
        compressors, columns = compress(bits, f"c{number}_")
        lines += [f"wire {name};" for found in compressors for name in found.outputs]
        lines += [
            instance(f"sum_{output}", table, found.inputs, output)
            for found in compressors
            for output, table in zip(found.outputs, found.tables, strict=True)
        ]
        rows = [
            ", ".join(column[row] if len(column) > row else "1'b0" for column in reversed(columns[:width]))
            for row in range(2)
        ]
        terms = [f"{{{row}}}" for row in rows if row.replace("1'b0", "").strip(", ")]
        terms += [f"{width}'d{circuit.bias[number]}"] * bool(circuit.bias[number] or not terms)
        lines.append(f"assign counts[{number * width} +: {width}] = {' + '.join(terms)};")
    ports = [vector("input", len(reads), "s"), vector("output", circuit.num_classes * width, "counts")]
    return module("group_sum", ports, lines)


def argmax(num_classes: int, width: int) -> str:
    """Counts to the class of the highest: a tournament in which the lower class wins ties."""
    label = index_width(num_classes)
    best = [(f"counts[{number * width} +: {width}]", f"{label}'d{number}") for number in range(num_classes)]
    lines: list[str] = []
    while len(best) > 1:
        pairs, best = best, []
        for (value, index), (other, other_index) in zip(pairs[::2], pairs[1::2], strict=False):
            name = len(lines) // 3
            lines += [f"wire first{name} = {value} >= {other};",
                      f"wire [{width - 1}:0] value{name} = first{name} ? {value} : {other};",
                      f"wire [{label - 1}:0] index{name} = first{name} ? {index} : {other_index};"]  # fmt: skip
            best.append((f"value{name}", f"index{name}"))
        best += pairs[len(pairs) & ~1 :]
    lines.append(f"assign winner = {best[0][1]};")
    return module("argmax", [vector("input", num_classes * width, "counts"), vector("output", label, "winner")], lines)


def index_width(num_classes: int) -> int:
    return max((num_classes - 1).bit_length(), 1)
