"""AIGER, a network of gates AND and inverters: for provers, model checkers and logic optimisation."""

import os
from collections.abc import Iterator
from pathlib import Path

from difflut.circuits.arithmetic.netlist import Netlist, netlist
from difflut.circuits.arithmetic.tables import plain
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.registry import register_format

FALSE, TRUE = 0, 1  # literals; the inverse of a literal differs in its lowest bit


@register_format("aag")
def write_aag(circuit: Circuit, path: str | os.PathLike[str], words: InputWords | None = None) -> Path:
    """Writes the format's text; inputs and outputs as `write_blif` has them.

    Args:
        words: Form of the inputs; None is `fixed_point_words(circuit)`.
    """
    net, gates = _gates(circuit, words)
    inputs = [str(2 * number) for number in range(1, gates.num_inputs + 1)]
    ands = [f"{2 * number} {high} {low}" for number, (high, low) in gates.numbered()]
    lines = [gates.header("aag"), *inputs, *map(str, gates.outputs), *ands, *_symbols(net), ""]
    path = Path(path)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@register_format("aig")
def write_aig(circuit: Circuit, path: str | os.PathLike[str], words: InputWords | None = None) -> Path:
    """Writes the binary format, which is smaller and all that ABC reads; inputs and outputs as `write_blif` has them.

    Args:
        words: Form of the inputs; None is `fixed_point_words(circuit)`.
    """
    net, gates = _gates(circuit, words)
    head = "\n".join([gates.header("aig"), *map(str, gates.outputs), ""]).encode()
    ands = b"".join(_varint(2 * n - high) + _varint(high - low) for n, (high, low) in gates.numbered())
    path = Path(path)
    path.write_bytes(head + ands + "\n".join([*_symbols(net), ""]).encode())
    return path


class _Gates:
    """Gates AND under construction, none twice; literals are even numbers, and odd ones for their inverses.

    Attributes:
        num_inputs: Literals 2, 4, … are the inputs.
        ands: The two literals that each gate reads, the higher first.
        outputs: Literals.
    """

    def __init__(self, num_inputs: int) -> None:
        self.num_inputs = num_inputs
        self.ands: list[tuple[int, int]] = []
        self.outputs: list[int] = []
        self._known: dict[tuple[int, int], int] = {}

    def numbered(self) -> Iterator[tuple[int, tuple[int, int]]]:
        return enumerate(self.ands, start=self.num_inputs + 1)

    def header(self, magic: str) -> str:
        variables = self.num_inputs + len(self.ands)
        return f"{magic} {variables} {self.num_inputs} 0 {len(self.outputs)} {len(self.ands)}"

    def both(self, a: int, b: int) -> int:
        """`a AND b`."""
        a, b = max(a, b), min(a, b)
        if b == FALSE or a == b ^ 1:
            return FALSE
        if b == TRUE or a == b:
            return a
        if (a, b) not in self._known:
            self.ands.append((a, b))
            self._known[a, b] = 2 * (self.num_inputs + len(self.ands))
        return self._known[a, b]

    def chosen(self, choice: int, high: int, low: int) -> int:
        """`high` where `choice` is true, else `low`."""
        if high == low:
            return high
        return self.both(self.both(choice, high) ^ 1, self.both(choice ^ 1, low) ^ 1) ^ 1

    def table(self, init: int, inputs: list[int]) -> int:
        """A table; it is split by its highest input, and each different part is built once."""
        if init in (0, (1 << 2 ** len(inputs)) - 1):
            return init & 1
        half = 2 ** (len(inputs) - 1)
        high, low = (self.table(part, inputs[:-1]) for part in (init >> half, init & (1 << half) - 1))
        return self.chosen(inputs[-1], high, low)


def _gates(circuit: Circuit, words: InputWords | None) -> tuple[Netlist, _Gates]:
    net = netlist(circuit, words)
    gates = _Gates(len(net.inputs))
    literals = {"0": FALSE, "1": TRUE} | {name: 2 * number for number, name in enumerate(net.inputs, start=1)}
    for table in net.tables:
        literals[table.output] = gates.table(table.init, [literals[name] for name in table.inputs])
    gates.outputs = [literals[plain(name)] ^ name.startswith("~") for name in net.counts + net.winner]
    return net, gates


def _symbols(net: Netlist) -> Iterator[str]:
    """The names of inputs and outputs."""
    for kind, names in zip("io", net.ports, strict=True):
        yield from (f"{kind}{number} {name}" for number, name in enumerate(names))


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit of a byte says that more follow."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])
