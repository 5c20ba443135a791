"""Registers between tables: where they stand, and what they cost."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from difflut.circuits.arithmetic.tables import Cell, Tables, plain

LEVELS = 2  # tables on a path from register to register behind the layers, unless said otherwise
SHIFTED = 3  # registers in a row from which on synthesis makes one shift register


@dataclass(frozen=True)
class Pipeline:
    """Tables and chains by stage, with registers between two stages.

    Attributes:
        stages: Those of each stage; there is at least one stage.
        passed: The signals that pass from each stage but the last to the next.
    """

    stages: list[list[Cell]]
    passed: list[list[str]]


def stage(tables: Tables, cell: Cell, levels: int) -> int:
    return (tables.depth[cell.outputs[0]] - 1) // levels


def pipeline(tables: Tables, outputs: Iterable[str], levels: int = LEVELS) -> Pipeline:
    """Stages of so many levels of tables; the outputs are there after the last one."""
    stage_of: defaultdict[str, int] = defaultdict(int)
    last: dict[str, int] = {}
    for cell in tables.made:
        made = stage(tables, cell, levels)
        stage_of |= dict.fromkeys(cell.outputs, made)
        last |= {name: max(last.get(name, 0), made) for name in cell.inputs}
    end = max(stage_of.values(), default=0)
    last |= {plain(name): end for name in outputs if name not in ("0", "1")}
    stages: list[list[Cell]] = [[] for _ in range(end + 1)]
    for cell in tables.made:
        stages[stage_of[cell.outputs[0]]].append(cell)
    passed = [[name for name in last if stage_of[name] <= cut < last[name]] for cut in range(end)]
    return Pipeline(stages, passed)


def count_registers(stage_of: dict[str, int], read: Iterable[tuple[Sequence[str], int]]) -> tuple[int, int]:
    """What it takes to bring signals to those that read them.

    Args:
        stage_of: The stage that makes each signal.
        read: Signals, and the stage that reads them.

    Returns:
        Flip-flops and shift registers, which stand for the chains of `SHIFTED` and more between two readers.
    """
    readers: dict[str, set[int]] = defaultdict(set)
    for names, reader in read:
        for name in names:
            readers[plain(name)].add(reader)
    flip_flops = shift_registers = 0
    for name, stages in readers.items():
        if name in stage_of:
            ends = [stage_of[name], *sorted(stages)]
            chains = [end - start for start, end in pairwise(ends)]
            flip_flops += sum(chain for chain in chains if chain < SHIFTED)
            shift_registers += sum(chain >= SHIFTED for chain in chains)
    return flip_flops, shift_registers
