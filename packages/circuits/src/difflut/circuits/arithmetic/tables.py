"""Tables of up to six inputs under construction, with which hardware counts, compares and chooses."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

CHOOSE = 0b11001010  # a, b, choice: b if chosen


class Cell(Protocol):
    """A table, or what else of a device computes signals.

    Attributes:
        inputs: Signals that it reads.
        outputs: Signals that it gives.
        tables: Tables that compute the same.
        luts: LUTs that it takes.
        carries: Parts of carry chains that it takes.
    """

    @property
    def inputs(self) -> Sequence[str]: ...
    @property
    def outputs(self) -> Sequence[str]: ...
    @property
    def tables(self) -> Sequence["Table"]: ...
    @property
    def luts(self) -> int: ...
    @property
    def carries(self) -> int: ...


@dataclass(frozen=True)
class Table:
    """Bit `a` of `init` is the entry at address `a`; the first input is the least significant bit of the address."""

    init: int
    inputs: Sequence[str]
    output: str
    luts = 1
    carries = 0

    @property
    def outputs(self) -> tuple[str]:
        return (self.output,)

    @property
    def tables(self) -> tuple["Table"]:
        return (self,)


class Tables:
    """Adds tables, simplified, and none twice: signals are names, "0", "1", and "~" before a name inverts it.

    Args:
        prefix: Beginning of the names of outputs.
        chains: Whether the device has carry chains, and LUTs that are two tables of the same five inputs.

    Attributes:
        made: The tables and carry chains, each after those that it reads.
        depth: Tables and chains on the longest path to a signal.
    """

    def __init__(self, prefix: str, chains: bool = False) -> None:
        self.made: list[Cell] = []
        self.depth: dict[str, int] = defaultdict(int)
        self.prefix, self.chains = prefix, chains
        self._known: dict[tuple[int, tuple[str, ...]], str] = {}

    def add(self, init: int, inputs: Sequence[str]) -> str:
        """A table of signals; returns its output, or the signal or constant that it comes to."""
        kinds = "".join(name[0] if name[0] in "01~" else "x" for name in inputs)
        init, kept = simplified(init, kinds)
        names = [plain(inputs[position]) for position in kept]
        if not names:
            return "01"[init]
        if len(names) == 1:
            return names[0] if init == 0b10 else f"~{names[0]}"
        if known := self._known.get((init, tuple(names))):
            return known
        output = self._known[init, tuple(names)] = f"{self.prefix}{len(self.made)}"
        self.append(Table(init, names, output))
        return output

    @property
    def flat(self) -> list[Table]:
        """Tables that compute the same as what was made."""
        return [table for cell in self.made for table in cell.tables]

    def append(self, cell: Cell) -> None:
        """Adds a cell as it is."""
        self.made.append(cell)
        depth = 1 + max((self.depth[name] for name in cell.inputs), default=0)
        self.depth |= dict.fromkeys(cell.outputs, depth)


def plain(signal: str) -> str:
    """The name of a signal that may be inverted."""
    return signal.removeprefix("~")


def inverse(signal: str) -> str:
    """The name of a signal's inverse."""
    return {"0": "1", "1": "0"}.get(signal) or (plain(signal) if signal.startswith("~") else f"~{signal}")


@lru_cache(maxsize=2**16)
def simplified(init: int, kinds: str) -> tuple[int, list[int]]:
    """A table without constants ("0", "1"), inverters ("~") and inputs that do not matter, and the inputs left."""
    # Constants first: an input may matter only for the other value of a constant.
    free = [position for position, kind in enumerate(kinds) if kind not in "01"]
    fixed = sum(1 << position for position, kind in enumerate(kinds) if kind == "1")
    entries = [
        init >> (fixed | sum((row >> place & 1) << position for place, position in enumerate(free))) & 1
        for row in range(2 ** len(free))
    ]
    kept: list[int] = []
    for position in free:
        step = 2 ** len(kept)
        pairs = [(entries[i : i + step], entries[i + step : i + 2 * step]) for i in range(0, len(entries), 2 * step)]
        if all(low == high for low, high in pairs):
            entries = [entry for low, _ in pairs for entry in low]
        else:
            kept.append(position)
            entries = [entry for low, high in pairs for entry in (high + low if kinds[position] == "~" else low + high)]
    return sum(entry << address for address, entry in enumerate(entries)), kept
