"""Counting ones on carry chains: a search for the chains that together have the fewest LUTs."""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from difflut.circuits.arithmetic.chains import LENGTH, Shape, add_chain
from difflut.circuits.arithmetic.compressors import Columns
from difflut.circuits.arithmetic.tables import Tables, plain

Atoms = tuple[Shape, ...]
# What adjacent positions can add: no LUT of these has more than six inputs, and one of six has an own bit.
ATOMS: list[Shape] = [(2,), (6, 0), (4, 1), (6, 1, 1), (4, 3, 1), (5, 2, 1)]
CARRIED = 5  # bits of the first position up to which it leaves the wire of the carry to one bit more
BEST: Atoms = ((6, 0),)  # what takes the fewest LUTs where nothing is to be added to but one column
MANY = 100  # bits of a column from which on that is not searched for
KEPT = 50  # ways to begin that the search goes on with
REMOVED = 1.6  # bits that a LUT removes, about


def add_chains(tables: Tables, columns: Columns, width: int) -> list[str]:
    """Adds chains until each weight has one bit; about 0.6 LUTs a bit.

    Args:
        columns: The bits to count; sums stay below `2**width`.

    Returns:
        The digits of the sum, the lowest first.
    """

    def depth(name: str) -> int:
        return tables.depth[plain(name)]

    columns = [sorted(column, key=depth) for column in columns[:width]] + [[] for _ in range(width - len(columns))]
    for lowest, atoms in _plan(tuple(map(len, columns))):
        shape = _shape(atoms)
        taken = []
        for column, bits in zip(columns[lowest:], shape, strict=False):
            taken.append(column[:bits])
            del column[:bits]
        digits = _digits([len(column) for column in taken], width - lowest)
        for column, digit in zip(columns[lowest:], add_chain(tables, atoms, taken, digits).outputs, strict=False):
            insort(column, digit, key=depth)
    return [column[0] if column else "0" for column in columns]


@lru_cache(maxsize=2**10)
def _plan(heights: Shape) -> list[tuple[int, Atoms]]:
    """The lowest columns of chains and their atoms, one chain after the other: the best that a beam search finds."""
    way, best = _Way(0, [], [[0] * bits for bits in heights]), None
    for column in range(len(heights)):
        while len(way.columns[column]) >= MANY:
            way = way.after(column, BEST)
    front = [way]
    while front:
        found = defaultdict[Shape, list[tuple[int, _Way, int, Atoms]]](list)
        for way in front:
            before = tuple(map(len, way.columns))
            lowest = next((column for column, bits in enumerate(before) if bits > 1), None)
            if lowest is None:
                best = way if best is None or way.luts < best.luts else best
                continue
            for left, atoms in _moves(before, lowest):
                found[left].append((way.luts + sum(map(len, atoms)), way, lowest, atoms))
        cheapest = {left: min(luts for luts, *_ in ways) for left, ways in found.items()}
        kept = sorted(cheapest, key=lambda left: (cheapest[left] + _removed(left) / REMOVED, left))[:KEPT]
        front = [
            min(
                (way.after(lowest, atoms) for luts, way, lowest, atoms in found[left] if luts == cheapest[left]),
                key=lambda way: way.depths,
            )
            for left in kept
            if best is None or cheapest[left] < best.luts
        ]
    assert best is not None
    return best.plan


@dataclass(frozen=True)
class _Way:
    """Chains that were chosen, their LUTs, and the depths of the bits that are left in each column, ascending."""

    luts: int
    plan: list[tuple[int, Atoms]]
    columns: list[list[int]]

    @property
    def depths(self) -> tuple[int, int]:
        """The highest, and the sum."""
        depths = [depth for column in self.columns for depth in column]
        return max(depths), sum(depths)

    def after(self, lowest: int, atoms: Atoms) -> "_Way":
        """This way and one chain more, which takes the bits that are ready first."""
        columns, taken, shape = list(self.columns), [], _shape(atoms)
        for place, bits in enumerate(shape, start=lowest):
            taken.append(columns[place][:bits])
            columns[place] = columns[place][bits:]
        depth = 1 + max(column[-1] for column in taken if column)
        for place in range(_digits(list(map(len, taken)), len(columns) - lowest)):
            columns[lowest + place] = sorted([*columns[lowest + place], depth])
        return _Way(self.luts + len(shape), [*self.plan, (lowest, atoms)], columns)


def _removed(heights: Shape) -> int:
    """Bits that are still to be removed."""
    return sum(bits - 1 for bits in heights if bits > 1)


def _moves(heights: Shape, lowest: int) -> Iterator[tuple[Shape, Atoms]]:
    """Chains that begin at a column, and the bits that they leave."""
    for atoms in _chains(len(heights) - lowest):
        left = list(heights)
        taken = [min(bits, height) for bits, height in zip(_shape(atoms), heights[lowest:], strict=False)]
        for column, bits in enumerate(taken, start=lowest):
            left[column] -= bits
        for column in range(_digits(taken, len(heights) - lowest)):
            left[lowest + column] += 1
        if left[lowest] < heights[lowest]:
            yield tuple(left), atoms


def _shape(atoms: Atoms) -> Shape:
    """The most bits of each column that a chain adds, the one that is carried in included."""
    first, *others = [bits for atom in atoms for bits in atom]
    return first + (first <= CARRIED), *others


def _digits(taken: list[int], most: int) -> int:
    """Digits of the sum of so many bits."""
    return min(sum(bits << place for place, bits in enumerate(taken)).bit_length(), len(taken) + 1, most)


@lru_cache
def _chains(columns: int) -> list[Atoms]:
    """The chains on so many columns: up to one CARRY4, and longer ones that add two words."""
    chains: list[Atoms] = []
    begun: list[Atoms] = [()]
    while begun:
        begun = [
            (*atoms, atom) for atoms in begun for atom in ATOMS if sum(map(len, (*atoms, atom))) <= min(columns, LENGTH)
        ]
        chains += begun
    return chains + [((2,),) * length for length in range(LENGTH + 1, columns + 1)]
