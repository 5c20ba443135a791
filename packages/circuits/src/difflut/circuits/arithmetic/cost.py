"""What a circuit costs in 6-input LUTs and registers, estimated without any tool."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflut.circuits.arithmetic.encoding import count_encoder
from difflut.circuits.arithmetic.head import add_counts, add_tournament, has_chains
from difflut.circuits.arithmetic.pairs import count_luts
from difflut.circuits.arithmetic.pipeline import LEVELS, count_registers, stage
from difflut.circuits.arithmetic.tables import Cell, Tables, plain
from difflut.circuits.arithmetic.words import InputWords, fixed_point_words
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.split import split


@dataclass(frozen=True)
class Cost:
    """6-input LUTs of a circuit: `total` is all of it; `core`, which papers quote, leaves the encoder out.

    Attributes:
        layers: LUTs of the nodes in each layer, wide tables split.
        popcount: LUTs that count the ones of each class.
        argmax: LUTs that find the highest count.
        encoder: LUTs that compare words with thresholds, and before that add up sums of pixels where there are any.
        depth: LUTs on the longest path through the core.
        flip_flops: Flip-flops of the design with all registers whose only output is the class.
        shift_registers: Chains of its registers. Each takes a LUT, of a kind that not every LUT is; `total` is without
            them.
        carries: Parts of carry chains (CARRY4), beside the LUTs.
    """

    layers: list[int]
    popcount: int
    argmax: int
    encoder: int
    depth: int
    flip_flops: int
    shift_registers: int
    carries: int

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
            f"encoder {self.encoder:,})" + f", {self.carries:,} CARRY4" * (self.carries > 0)
        )


def estimate_cost(
    circuit: Circuit, words: InputWords | None = None, levels: int = LEVELS, head: str = "tables"
) -> Cost:
    """Counts the tables that are written; Yosys finds some of them equal.

    Args:
        words: Form of the inputs; None is `fixed_point_words(circuit)`.
        levels: Levels of tables between registers behind the layers, as in `write_verilog`.
        head: "tables", or "chains" for that of Xilinx devices, where a LUT of two outputs is one.
    """
    words = fixed_point_words(circuit) if words is None else words
    chains = has_chains(head)
    hard, counters, matches = split(circuit), Tables("p", chains), Tables("m", chains)
    counts = add_counts(counters, hard, {signal: f"s{signal}" for signal in hard.outputs.tolist()})
    winner = add_tournament(matches, counts)
    depth = _depth(hard, counters.made + matches.made, winner)
    registers = count_registers(*_pipelined(hard, counters, matches, winner, levels))
    layers = np.bincount(hard.layers).tolist()
    votes, best = count_luts(counters), count_luts(matches)
    carries = sum(cell.carries for cell in counters.made + matches.made)
    return Cost(layers, votes, best, count_encoder(circuit, words), depth, *registers, carries)


def _pipelined(
    circuit: Circuit, counters: Tables, matches: Tables, winner: list[str], levels: int
) -> tuple[dict[str, int], list[tuple[Sequence[str], int]]]:
    """The stage that makes each signal, and the stages that read which: the encoder is stage 0."""
    stage_of = {f"s{signal}": 0 for signal in range(circuit.num_inputs)}
    read: list[tuple[Sequence[str], int]] = []
    last = 0
    for last, rows in enumerate(circuit.layer_slices(), start=1):
        stage_of |= {f"s{circuit.num_inputs + lut}": last for lut in range(rows.start, rows.stop)}
        read.append(([f"s{pin}" for pin in np.unique(circuit.wiring[rows]).tolist() if pin >= 0], last))
    for tables in (counters, matches):
        first, last = last + 1, last + 1
        for cell in tables.made:
            made = first + stage(tables, cell, levels)
            stage_of |= dict.fromkeys(cell.outputs, made)
            read.append((cell.inputs, made))
            last = max(last, made)
    return stage_of, [*read, (winner, last + 1)]


def _depth(circuit: Circuit, cells: list[Cell], winner: list[str]) -> int:
    depth = np.zeros(circuit.num_signals + 1, int)  # the last is that of a pin without input
    for rows in circuit.layer_slices():
        outputs = slice(circuit.num_inputs + rows.start, circuit.num_inputs + rows.stop)
        depth[outputs] = depth[circuit.wiring[rows]].max(1, initial=0) + 1
    known = {f"s{signal}": level for signal, level in enumerate(depth[:-1].tolist())} | {"0": 0, "1": 0}
    for cell in cells:
        known |= dict.fromkeys(cell.outputs, 1 + max(known[name] for name in cell.inputs))
    return max(known[plain(digit)] for digit in winner)
