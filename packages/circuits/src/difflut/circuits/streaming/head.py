"""The head of a stream: dense layers at once, then the same adders count one class after the other.

An image takes as many cycles as it has pixels, and adders for all classes would stand still in most of them.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from difflut.circuits.arithmetic.chain_sums import add_chains
from difflut.circuits.arithmetic.compressors import Columns, add_compressors
from difflut.circuits.arithmetic.head import class_columns, count_width, has_chains, index_width
from difflut.circuits.arithmetic.pairs import count_luts
from difflut.circuits.arithmetic.pipeline import Pipeline, pipeline
from difflut.circuits.arithmetic.tables import Tables
from difflut.circuits.circuit import Circuit
from difflut.circuits.streaming.memory import add_choice, add_constants
from difflut.circuits.writers import verilog
from difflut.circuits.writers.cells import CellWriter
from difflut.circuits.writers.modules import CLOCK, concatenation, layer, literal, module, vector
from difflut.circuits.writers.parts import Part, register

CHOSEN = 4  # signals of which a LUT gives one


class Turns:
    """Tables that count the votes of the class whose turn it is, with registers between them.

    Args:
        names: The signals of the votes, which stay until all classes have had their turn.

    Attributes:
        tables: They read the votes and `turn[…]`, the digits of the class.
        count: The digits of its count.
        staged: The tables by stage.
    """

    def __init__(self, circuit: Circuit, names: dict[int, str], levels: int, head: str) -> None:
        self.tables = Tables("t", has_chains(head))
        classes = class_columns(circuit, names)
        turn = [f"turn[{place}]" for place in range(index_width(len(classes)))]
        plan = _choices(self.tables, len(classes), turn)
        columns: Columns = []
        for weight in range(max(map(len, classes))):
            alike = [of_class[weight] if weight < len(of_class) else [] for of_class in classes]
            size = max(map(len, alike))
            rows = zip(*(bits + ["0"] * (size - len(bits)) for bits in alike), strict=True)
            columns.append([_chosen(self.tables, list(row), plan) for row in rows])
        add = add_chains if self.tables.chains else add_compressors
        self.count = add(self.tables, columns, count_width(circuit))
        staged, stays = pipeline(self.tables, self.count, levels), set(names.values())
        self.staged = Pipeline(staged.stages, [[one for one in passed if one not in stays] for passed in staged.passed])


def _choices(tables: Tables, classes: int, turn: list[str]) -> list[tuple[int, list[str]]]:
    """The tables that choose a class's signal: how many signals each takes off the list, and what it chooses by."""
    plan, groups = [], [[number] for number in range(classes)]
    while len(groups) > 1:
        size = (len(groups) - 2) % (CHOSEN - 1) + 2  # the first may take fewer, so that all others take four
        taken, groups = groups[:size], [*groups[size:], [number for group in groups[:size] for number in group]]
        which = np.zeros((classes, (size - 1).bit_length()), bool)
        for place, group in enumerate(taken):
            which[group] = [place >> bit & 1 for bit in range(which.shape[1])]
        plan.append((size, add_constants(tables, which, turn)))
    return plan


def _chosen(tables: Tables, signals: list[str], plan: list[tuple[int, list[str]]]) -> str:
    for size, choice in plan:
        taken, signals = signals[:size], signals[size:]
        signals.append(add_choice(tables, taken + ["0"] * ((1 << len(choice)) - size), choice))
    return signals[0]


def core(circuit: Circuit, levels: int, head: str) -> verilog.Core:
    """Layers, counts and the highest count of a circuit whose tables are split; one image at a time.

    The class is there `latency` cycles after `start`, and stays until the next one.
    """
    live, classes, width = verilog.live_signals(circuit), circuit.num_classes, count_width(circuit)
    label, layers = index_width(classes), circuit.layer_slices()
    given = verilog.GIVEN + verilog.CHAINED * has_chains(head)
    modules = {name: Path(verilog.__file__).with_name(f"{name}.v").read_text(encoding="utf-8") for name in given}
    lines, source = [], "s"
    for number, luts in enumerate(layers, start=1):
        name, (reads, gives) = f"layer{number}", live[number - 1 : number + 1]
        modules[name] = layer(circuit, name, luts, reads, gives)
        registered = number < len(layers)
        lines += Part(name, "s", "y", len(gives), int(registered), registered).instance(source)
        source = f"{name}_y"
    turns = Turns(circuit, {signal: f"votes[{index}]" for index, signal in enumerate(live[-1])}, levels, head)
    before = max(len(layers), 1)
    first = before + len(turns.staged.passed)
    lines += [
        f"reg [{first - 1}:0] on;",
        "always @(posedge clk) on <= reset ? 0 : {on, start};",
        f"wire arrived = {f'on[{before - 2}]' if before > 1 else 'start'};",
        f"reg [{len(live[-1]) - 1}:0] votes;",
        f"always @(posedge clk) if (arrived) votes <= {source};",
        f"reg [{label - 1}:0] turn, number;",
        f"always @(posedge clk) turn <= arrived ? 0 : turn + (turn != {classes - 1});",
        *_counts(turns),
        f"reg [{width - 1}:0] best;",
        "always @(posedge clk)",
        f"    if (on[{first - 1}]) {{best, winner, number}} <= {{count, {label}'d0, {label}'d1}};",
        "    else begin",
        "        if (count > best) {best, winner} <= {count, number};",
        f"        number <= number + (number != {classes - 1});",
        "    end",
    ]
    ports = [
        CLOCK,
        "input reset",
        "input start",
        vector("input", len(live[0]), "s"),
        f"output reg [{label - 1}:0] winner",
    ]
    modules["core"] = module("core", ports, lines)
    return verilog.Core(modules, live[0], first + classes)


class HeadCost(NamedTuple):
    """LUTs of the tables, of votes that are chosen and counted, and of what compares the counts; flip-flops of all."""

    tables: int
    popcount: int
    argmax: int
    flip_flops: int


def head_cost(circuit: Circuit, levels: int, head: str) -> HeadCost:
    """What `core` takes, by estimate."""
    live, label, width = verilog.live_signals(circuit), index_width(circuit.num_classes), count_width(circuit)
    turns = Turns(circuit, {signal: f"votes[{index}]" for index, signal in enumerate(live[-1])}, levels, head)
    registers = sum(map(len, live[1:] or live)) + sum(map(len, turns.staged.passed))
    stages = max(len(live) - 1, 1) + len(turns.staged.passed)
    return HeadCost(circuit.num_luts, count_luts(turns.tables), width // 2 + 3 * label,
                    registers + stages + width + 3 * label)  # fmt: skip


def _counts(turns: Turns) -> list[str]:
    writer, lines, names = CellWriter(turns.tables), [], dict[str, str]()
    for number, stage in enumerate(turns.staged.stages):
        lines += writer.lines(stage, names)
        if number < len(turns.staged.passed):
            passed = turns.staged.passed[number]
            together = concatenation([names.get(one, one) for one in passed])
            lines += register(f"level{number}", together, len(passed))
            names = {one: f"level{number}[{index}]" for index, one in enumerate(passed)}
    digits = concatenation([literal(one, names) for one in turns.count])
    return [*lines, f"wire [{len(turns.count) - 1}:0] count = {digits};"]
