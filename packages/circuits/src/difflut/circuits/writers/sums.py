"""The text of the Verilog modules that count the ones of each class and find the highest count."""

from itertools import combinations

from difflut.circuits.arithmetic.compressors import Columns, compress, is_compressed
from difflut.circuits.arithmetic.counting import class_columns, index_width
from difflut.circuits.circuit import Circuit
from difflut.circuits.writers.modules import CLOCK, instance, module, vector


def group_sum(circuit: Circuit, reads: list[int], width: int, registered: bool) -> tuple[str, int]:
    """Bits to the counts of all classes, each `width` bits wide: levels of compressors and one addition a class.

    Returns:
        The text and its latency: with `registered`, registers follow each level of compressors.
    """
    classes = class_columns(circuit, {signal: f"s[{index}]" for index, signal in enumerate(reads)})
    lines: list[str] = []
    level = 0
    while not all(map(is_compressed, classes)):
        for number, columns in enumerate(classes):
            compressors, classes[number] = compress(columns, f"c{number}_{level}_")
            lines += [f"wire {name};" for found in compressors for name in found.outputs]
            lines += [
                instance(f"sum_{output}", table, found.inputs, output)
                for found in compressors
                for output, table in zip(found.outputs, found.tables, strict=True)
            ]
        level += 1
        if registered:
            classes = _registers(lines, classes, f"level{level}")
    for number, columns in enumerate(classes):
        total = _sum(lines, columns, int(circuit.bias[number]), width, f"t{number}_")
        lines.append(f"assign counts[{number * width} +: {width}] = {{{', '.join(reversed(total))}}};")
    ports = [vector("input", len(reads), "s"), vector("output", circuit.num_classes * width, "counts")]
    latency = level * registered
    return module("group_sum", [*[CLOCK] * (latency > 0), *ports], lines), latency


def _registers(lines: list[str], classes: list[Columns], name: str) -> list[Columns]:
    """Adds a register of all bits; returns them as they are called behind it."""
    bits = [bit for columns in classes for column in columns for bit in column]
    place = {bit: f"{name}[{index}]" for index, bit in enumerate(bits)}
    lines += [f"reg [{max(len(bits), 1) - 1}:0] {name};",
              f"always @(posedge clk) {name} <= {{{', '.join(reversed(bits)) or 0}}};"]  # fmt: skip
    return [[[place[bit] for bit in column] for column in columns] for columns in classes]


def _sum(lines: list[str], columns: Columns, bias: int, width: int, prefix: str) -> list[str]:
    """Adds the additions that are left, digit by digit: so provers see the same carries in netlists. Returns digits."""
    columns = columns[:width] + [[]] * (width - len(columns))
    total = _add(lines, columns, prefix)
    if bias:
        total = _add(lines, [[digit, f"1'b{bias >> place & 1}"] for place, digit in enumerate(total)], f"{prefix}b")
    return total


def _add(lines: list[str], columns: Columns, prefix: str) -> list[str]:
    total, carry = [], []
    for place, column in enumerate(columns):
        bits = [*column, *carry]
        total.append(" ^ ".join(bits) or "1'b0")
        carry = [f"{prefix}{place}"] * (len(bits) > 1)
        if carry:
            both = [f"{one} & {other}" for one, other in combinations(bits, 2)]
            lines.append(f"wire {carry[0]} = {' | '.join(both)};")
    digits = [f"{prefix}s{place}" for place in range(len(total))]
    lines += [f"wire {digit} = {value};" for digit, value in zip(digits, total, strict=True)]
    return digits


def argmax(num_classes: int, width: int, registered: bool) -> tuple[str, int]:
    """Counts to the class of the highest: a tournament in which the lower class wins ties.

    Returns:
        The text and its latency: with `registered`, registers follow each round but the last.
    """
    label = index_width(num_classes)
    best = [(f"counts[{number * width} +: {width}]", f"{label}'d{number}") for number in range(num_classes)]
    lines: list[str] = []
    latency, matches = 0, 0
    while len(best) > 1:
        pairs, best = best, []
        for (value, index), (other, other_index) in zip(pairs[::2], pairs[1::2], strict=False):
            names = f"left{matches}", f"right{matches}"
            lines += [f"wire [{width - 1}:0] {name} = {of};" for name, of in zip(names, (value, other), strict=True)]
            lines += [f"wire first{matches} = {_greater_or_equal(*names, width)};",
                      f"wire [{width - 1}:0] value{matches} = first{matches} ? {value} : {other};",
                      f"wire [{label - 1}:0] index{matches} = first{matches} ? {index} : {other_index};"]  # fmt: skip
            best.append((f"value{matches}", f"index{matches}"))
            matches += 1
        best += pairs[len(pairs) & ~1 :]
        if registered and len(best) > 1:
            latency += 1
            for place, (value, index) in enumerate(best):
                names = f"value{latency}_{place}", f"index{latency}_{place}"
                lines += [f"reg [{width - 1}:0] {names[0]};", f"reg [{label - 1}:0] {names[1]};",
                          f"always @(posedge clk) {{{', '.join(names)}}} <= {{{value}, {index}}};"]  # fmt: skip
                best[place] = names
    lines.append(f"assign winner = {best[0][1]};")
    ports = [vector("input", num_classes * width, "counts"), vector("output", label, "winner")]
    return module("argmax", [*[CLOCK] * (latency > 0), *ports], lines), latency


def _greater_or_equal(one: str, other: str, width: int) -> str:
    """Decided by the highest digit that differs."""
    text = "1'b1"
    for digit in range(width):
        a, b = f"{one}[{digit}]", f"{other}[{digit}]"
        text = f"({a} & ~{b} | ~({a} ^ {b}) & {text})"
    return text
