"""Tables that share a LUT of two outputs, as Xilinx devices have them."""

from collections import defaultdict

from difflut.circuits.arithmetic.chains import SHARED
from difflut.circuits.arithmetic.tables import Table, Tables


def pairs(tables: Tables) -> list[tuple[Table, Table]]:
    """Tables, two of which read five signals at most; both are at one depth, so that no register is between them."""
    levels = defaultdict[int, list[Table]](list)
    for cell in tables.made * tables.chains:
        if isinstance(cell, Table) and len(cell.inputs) <= SHARED:
            levels[tables.depth[cell.output]].append(cell)
    found = []
    for level in levels.values():
        level.sort(key=lambda table: len(table.inputs))
        while level:
            table = level.pop()
            others = [other for other in level if len({*table.inputs, *other.inputs}) <= SHARED]
            if others:
                other = max(others, key=lambda other: (len({*table.inputs} & {*other.inputs}), len(other.inputs)))
                level.remove(other)
                found.append((table, other))
    return found


def count_luts(tables: Tables) -> int:
    """LUTs of all that was made, two of which may be one."""
    return sum(cell.luts for cell in tables.made) - len(pairs(tables))
