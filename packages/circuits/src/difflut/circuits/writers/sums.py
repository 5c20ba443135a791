"""The text of the Verilog modules that count the ones of each class and find the highest count."""

from collections.abc import Iterable

from difflut.circuits.arithmetic.head import add_counts, add_tournament, count_width, has_chains
from difflut.circuits.arithmetic.pipeline import Pipeline, pipeline
from difflut.circuits.arithmetic.tables import Tables
from difflut.circuits.circuit import Circuit
from difflut.circuits.writers.cells import CellWriter
from difflut.circuits.writers.modules import CLOCK, concatenation, literal, module, vector


def group_sum(circuit: Circuit, reads: list[int], levels: int | None, head: str) -> tuple[str, int]:
    """Bits to the counts of all classes, of one width.

    Returns:
        The text and its latency: registers stand between stages of so many `levels` of tables; None is none.
    """
    tables, width = Tables("t", has_chains(head)), count_width(circuit)
    counts = add_counts(tables, circuit, {signal: f"s[{index}]" for index, signal in enumerate(reads)})
    digits = [digit for count in counts for digit in count + ["0"] * (width - len(count))]
    return _module("group_sum", vector("input", len(reads), "s"), "counts", tables, digits, levels)


def argmax(circuit: Circuit, levels: int | None, head: str) -> tuple[str, int]:
    """Counts to the class of the highest.

    Returns:
        The text and its latency: registers stand between stages of so many `levels` of tables; None is none.
    """
    tables, width = Tables("t", has_chains(head)), count_width(circuit)
    counts = [
        [f"counts[{number * width + place}]" for place in range(int(most).bit_length())]
        for number, most in enumerate(circuit.max_counts)
    ]
    winner = add_tournament(tables, counts)
    return _module("argmax", vector("input", len(counts) * width, "counts"), "winner", tables, winner, levels)


def _module(
    name: str, reads: str, gives: str, tables: Tables, outputs: list[str], levels: int | None
) -> tuple[str, int]:
    staged = pipeline(tables, outputs, levels) if levels else Pipeline([tables.made], [])
    writer = CellWriter(tables)
    lines: list[str] = []
    names: dict[str, str] = {}
    for number, stage in enumerate(staged.stages):
        lines += writer.lines(stage, names)
        if number < len(staged.passed):
            lines += _register(f"level{number}", [names.get(one, one) for one in staged.passed[number]])
            names |= {one: f"level{number}[{index}]" for index, one in enumerate(staged.passed[number])}
    lines.append(f"assign {gives} = {concatenation([literal(one, names) for one in outputs])};")
    latency = len(staged.passed)
    return module(name, [*[CLOCK] * (latency > 0), reads, vector("output", len(outputs), gives)], lines), latency


def _register(name: str, bits: Iterable[str]) -> list[str]:
    bits = list(bits)
    return [f"reg [{len(bits) - 1}:0] {name};", f"always @(posedge clk) {name} <= {concatenation(bits)};"]
