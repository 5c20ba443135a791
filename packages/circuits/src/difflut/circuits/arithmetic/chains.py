"""Carry chains of Xilinx devices: LUTs of two outputs that add up to seven bits with every two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from difflut.circuits.arithmetic.tables import CHOOSE, Table, Tables, plain, simplified

Shape = tuple[int, ...]  # how many bits are added of a column, of the next, and so on
XOR = 0b0110
LENGTH = 4  # positions of a CARRY4
SHARED = 5  # inputs of a LUT of two outputs


@dataclass(frozen=True)
class Position:
    """A LUT on a chain: the position adds 0, 1 or 2 of its weight to what is carried into it.

    Attributes:
        inputs: Those of the LUT, the first the least significant bit of the address.
        one: The table that tells whether it adds 1.
        two: Where it does not add 1, the table that tells whether it adds 2; None if `passed` tells.
        passed: The signal that passes by a LUT of six inputs.
    """

    inputs: Sequence[str]
    one: int
    two: int | None
    passed: str = "0"


@dataclass(frozen=True)
class Chain:
    """Positions of rising weight; `carry` goes into the first.

    Attributes:
        outputs: The digits of the sum, the lowest first: one of each position, and the last carry where it matters.
    """

    positions: Sequence[Position]
    carry: str
    outputs: Sequence[str]

    @property
    def inputs(self) -> list[str]:
        passed = (position.passed for position in self.positions)
        read = [name for position in self.positions for name in position.inputs]
        return [*read, *(name for name in (self.carry, *passed) if name not in ("0", "1"))]

    @property
    def luts(self) -> int:
        return len(self.positions)

    @property
    def carries(self) -> int:
        return -(-len(self.positions) // LENGTH)

    @property
    def tables(self) -> list[Table]:
        """Tables that compute the same; two of them have no inputs."""
        constants = {bit: f"{self.outputs[0]}_{bit}" for bit in "01"}
        made, carry = [Table(int(bit), [], name) for bit, name in constants.items()], self.carry
        for number, (position, output) in enumerate(zip(self.positions, self.outputs, strict=False)):
            one, two, after = f"{output}_one", f"{output}_two", f"{output}_carry"
            made.append(Table(position.one, position.inputs, one))
            if position.two is None:
                two = constants.get(position.passed, position.passed)
            else:
                made.append(Table(position.two, position.inputs, two))
            carry = constants.get(carry, carry)
            made.append(Table(XOR, [one, carry], output))
            if len(self.outputs) > len(self.positions) == number + 1:
                after = self.outputs[-1]
            made.append(Table(CHOOSE, [two, carry, one], after))
            carry = after
        return made


def add_chain(tables: Tables, atoms: Sequence[Shape], columns: Sequence[Sequence[str]], digits: int) -> Chain:
    """Adds a chain.

    Args:
        atoms: Bits of each column that adjacent positions add together; those in the first of them add `own + rest`:
            one bit of each column comes by itself, and the digits of the sum of the rest are added to these.
        columns: The bits, one column a position. One bit more in the first is carried in.
        digits: Digits of the sum.
    """
    first, *others = (sorted(column, key=lambda name: name.startswith("~")) for column in columns)
    carry = _uninverted(tables, first.pop(0)) if len(first) > atoms[0][0] else "0"
    columns = [first, *others]
    positions: list[Position] = []
    for atom in atoms:
        taken, columns = columns[: len(atom)], columns[len(atom) :]
        shape = tuple(map(len, taken))
        for place in range(len(atom)):
            rest = [name for column in taken[: place + 1] for name in column[1:]]
            positions.append(_position(tables, shape, place, [*taken[place][:1], *rest]))
    chain = Chain(positions, carry, [f"{tables.prefix}{len(tables.made)}_{digit}" for digit in range(digits)])
    tables.append(chain)
    return chain


def _position(tables: Tables, shape: Shape, place: int, inputs: list[str]) -> Position:
    one, two = _adds(shape, place)
    kinds = "".join(name[0] if name[0] in "01~" else "x" for name in inputs)
    # One input more chooses between the two, so that both keep the same inputs.
    init, kept = simplified(two | one << 2 ** len(inputs), kinds + "x")
    if len(inputs) in kept:
        kept = kept[:-1]
    else:
        init |= init << 2 ** len(kept)
    names, entries = [plain(inputs[position]) for position in kept], 2 ** len(kept)
    one, two = init >> entries, init & 2**entries - 1
    if not two or not names:
        return Position(names, one, None, "01"[two])
    if len(names) <= SHARED:
        return Position(names, one, two)
    return Position(names, one, None, _uninverted(tables, inputs[0]))


@lru_cache
def _adds(shape: Shape, place: int) -> tuple[int, int]:
    """The tables that tell whether a position of an atom adds 1, and whether it adds 2.

    Their inputs are the own bit of the column, and then the rest of this column and of those below, lowest first.
    """
    own = min(shape[place], 1)
    weights = [column for column, bits in enumerate(shape[: place + 1]) for _ in range(bits - 1)]
    one = two = 0
    for address in range(2 ** (own + len(weights))):
        rest = sum((address >> own + index & 1) << column for index, column in enumerate(weights)) >> place
        added = (address & own) + (rest if place == len(shape) - 1 else rest & 1)
        one |= (added == 1) << address
        two |= (added == 2) << address
    return one, two


def _uninverted(tables: Tables, signal: str) -> str:
    """The signal where no LUT can invert it on its way."""
    if not signal.startswith("~"):
        return signal
    table = Table(0b01, [plain(signal)], f"{tables.prefix}{len(tables.made)}")
    tables.append(table)
    return table.output
