"""Behind the layers, in tables: the ones of each class counted, and the class of the highest count."""

from collections import Counter
from functools import lru_cache

from difflut.circuits.arithmetic.chain_sums import add_chains
from difflut.circuits.arithmetic.compressors import Columns, add_compressors, columns_of
from difflut.circuits.arithmetic.tables import CHOOSE, Tables, inverse
from difflut.circuits.circuit import Circuit

HEADS = ("tables", "chains")
GREATER = 0b11010100  # a, b, carry: whether b is greater, by these digits or else by those below


def has_chains(head: str) -> bool:
    """Whether a head counts on carry chains, and two of its tables may share a LUT, as on Xilinx devices.

    Raises:
        ValueError: There is no such head.
    """
    if head not in HEADS:
        raise ValueError(f"head={head!r} must be one of {', '.join(HEADS)}")
    return head == "chains"


def count_width(circuit: Circuit) -> int:
    """Bits of a count."""
    return max(int(circuit.max_counts.max()).bit_length(), 1)


def index_width(num_classes: int) -> int:
    """Bits of a class."""
    return max((num_classes - 1).bit_length(), 1)


def add_counts(tables: Tables, circuit: Circuit, names: dict[int, str]) -> list[list[str]]:
    """The digits of each class's count, the lowest first, as many as it needs; `names` are signals of the outputs."""
    add = add_chains if tables.chains else add_compressors
    widths = [int(most).bit_length() for most in circuit.max_counts]
    return [add(tables, columns, width) for columns, width in zip(class_columns(circuit, names), widths, strict=True)]


def class_columns(circuit: Circuit, names: dict[int, str]) -> list[Columns]:
    """For each class the bits that count for it, by weight; its bias is constant bits.

    Raises:
        ValueError: A bias is negative.
    """
    if (lowest := int(circuit.bias.min())) < 0:
        raise ValueError(
            f"bias of class {circuit.bias.argmin()} is {lowest}, but tables count from 0 on; add {-lowest} to the bias "
            "of every class, which leaves the highest count where it is"
        )
    columns = []
    for number, bias in enumerate(circuit.bias.tolist()):
        members = circuit.groups == number
        bits = zip(circuit.outputs[members].tolist(), circuit.inverted[members].tolist(), strict=True)
        often = [
            (inverse(names[bit]) if inverted else names[bit], times) for (bit, inverted), times in Counter(bits).items()
        ]
        columns.append(columns_of([*(bit for bit in often if bit[0] != "0"), ("1", bias)]))
    return columns


def add_tournament(tables: Tables, counts: list[list[str]]) -> list[str]:
    """The digits of the class of the highest count, the lowest first. The higher of two wins; the first on ties.

    The last comparison of two digits is part of each table that chooses by it; not where two tables share a LUT.
    """
    label = index_width(len(counts))
    best = [(count, ["01"[number >> digit & 1] for digit in range(label)]) for number, count in enumerate(counts)]
    while len(best) > 1:
        pairs, best = best, []
        for (count, index), (other, other_index) in zip(pairs[::2], pairs[1::2], strict=False):
            init, choice = _choice(tables, count, other)
            number = [tables.add(init, [*both, *choice]) for both in zip(index, other_index, strict=True)]
            # The count of the winner of the last match is not needed.
            higher = [] if len(pairs) == 2 else [tables.add(init, [*both, *choice]) for both in _paired(count, other)]
            best.append((higher, number))
        best += pairs[len(pairs) & ~1 :]
    return best[0][1]


def _paired(count: list[str], other: list[str]) -> list[tuple[str, str]]:
    width = max(len(count), len(other))
    return list(zip(*(digits + ["0"] * (width - len(digits)) for digits in (count, other)), strict=True))


def _choice(tables: Tables, count: list[str], other: list[str]) -> tuple[int, list[str]]:
    """A table that gives its second input if `other` is greater than `count`, else its first, and its other inputs.

    Two digits each are compared in turn, the lowest first, and three in the first table, which has no carry.
    """
    pairs, below = _paired(count, other), ["0"]
    while len(pairs) > (not tables.chains):
        now, pairs = pairs[: 2 + (below == ["0"])], pairs[2 + (below == ["0"]) :]
        below = [tables.add(_greater(len(now)), [*(digit for pair in now for digit in pair), *below])]
    if not pairs:
        return CHOOSE, below
    return _chosen_by_digit(), [*pairs[0], *below]


def add_greater(tables: Tables, pairs: list[tuple[str, str]]) -> str:
    """Whether the second of two numbers is greater; of their digits, the lowest come first."""
    below = "0"
    while pairs:
        now, pairs = pairs[: 2 + (below == "0")], pairs[2 + (below == "0") :]
        below = tables.add(_greater(len(now)), [*(digit for pair in now for digit in pair), below])
    return below


@lru_cache
def _greater(digits: int) -> int:
    """The table of digits a, b of rising weight, and what the digits below say."""
    entries = []
    for address in range(2 ** (2 * digits + 1)):
        says = address >> 2 * digits
        for place in range(digits):
            says = GREATER >> (address >> 2 * place & 3 | says << 2) & 1
        entries.append(says)
    return sum(entry << address for address, entry in enumerate(entries))


@lru_cache
def _chosen_by_digit() -> int:
    """The table `CHOOSE` whose choice is `GREATER` of three more inputs."""
    return sum(
        (CHOOSE >> (address & 3 | (GREATER >> (address >> 2) & 1) << 2) & 1) << address for address in range(2**5)
    )
