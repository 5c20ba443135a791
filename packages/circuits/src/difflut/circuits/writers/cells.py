"""The text of tables, pairs of them and carry chains in Verilog."""

from collections.abc import Mapping, Sequence

from difflut.circuits.arithmetic.chains import SHARED, Chain
from difflut.circuits.arithmetic.pairs import pairs
from difflut.circuits.arithmetic.tables import Cell, Table, Tables
from difflut.circuits.writers.modules import ZERO, instance, literal, lut_instance


class CellWriter:
    """Statements for cells; two tables that share a LUT are written where the first of them comes."""

    def __init__(self, tables: Tables) -> None:
        self._pairs = {table.output: pair for pair in pairs(tables) for table in pair}

    def lines(self, cells: Sequence[Cell], names: Mapping[str, str]) -> list[str]:
        """Wires for all of the cells, and the cells; `names` are those of inputs that are called otherwise."""
        lines = [f"wire {', '.join(cell.outputs)};" for cell in cells]
        written: set[str] = set()
        for cell in cells:
            if isinstance(cell, Chain):
                lines += _chain(cell, names)
            elif isinstance(cell, Table) and cell.output not in written:
                pair = self._pairs.get(cell.output)
                lines.append(_pair(*pair, names) if pair else _table(cell, names))
                written |= {table.output for table in pair or ()}
        return lines


def _table(table: Table, names: Mapping[str, str]) -> str:
    return instance(f"lut_{table.output}", table.init, _named(table.inputs, names), table.output)


def _pair(first: Table, second: Table, names: Mapping[str, str]) -> str:
    inputs = list(dict.fromkeys([*first.inputs, *second.inputs]))
    low, high = (_widened(table.init, [inputs.index(name) for name in table.inputs]) for table in (first, second))
    return _lut_pair(f"luts_{first.output}", low, high, _named(inputs, names), first.output, second.output)


def _lut_pair(name: str, low: int, high: int, inputs: list[str], o5: str, o6: str) -> str:
    address = ", ".join(reversed(inputs + [ZERO] * (SHARED - len(inputs))))
    return f"lut_pair #(.INIT(64'h{high << 32 | low:x})) {name} (.a({{{address}}}), .o5({o5}), .o6({o6}));"


def _chain(chain: Chain, names: Mapping[str, str]) -> list[str]:
    name, size = chain.outputs[0], len(chain.positions)
    one, two = f"{name}_one", f"{name}_two"
    lines = [f"wire [{size - 1}:0] {one}, {two};"]
    for place, position in enumerate(chain.positions):
        label, inputs = f"lut_{name}_{place}", _named(position.inputs, names)
        if position.two is None:
            table = lut_instance if inputs else instance
            lines += [
                table(label, position.one, inputs, f"{one}[{place}]"),
                f"assign {two}[{place}] = {literal(position.passed, names)};",
            ]
        else:
            low, high = (_widened(init, range(len(inputs))) for init in (position.two, position.one))
            lines.append(_lut_pair(label, low, high, inputs, f"{two}[{place}]", f"{one}[{place}]"))
    digits, carried = chain.outputs[:size], "".join(chain.outputs[size:])
    ports = f".one({one}), .two({two}), .o({{{', '.join(reversed(digits))}}}), .co({carried})"
    return [*lines, f"carry #(.N({size})) carry_{name} (.ci({literal(chain.carry, names)}), {ports});"]


def _named(signals: Sequence[str], names: Mapping[str, str]) -> list[str]:
    return [names.get(signal, signal) for signal in signals]


def _widened(init: int, pins: Sequence[int]) -> int:
    """A table of five inputs, which reads those at `pins` alone."""
    entries = (sum((address >> pin & 1) << place for place, pin in enumerate(pins)) for address in range(2**SHARED))
    return sum((init >> entry & 1) << address for address, entry in enumerate(entries))
