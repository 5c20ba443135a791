"""VHDL: one entity without registers, for tools that do not take Verilog."""

import os
import re
from pathlib import Path

from difflut.circuits.arithmetic.head import count_width
from difflut.circuits.arithmetic.netlist import netlist
from difflut.circuits.arithmetic.tables import Table, plain
from difflut.circuits.arithmetic.words import InputWords, fixed_point_words
from difflut.circuits.circuit import Circuit
from difflut.registry import register_format

TEMPLATE = """\
-- A network of look-up tables, written by DiffLUT. VHDL-93, combinational.
--
-- x        {features} features of {width} bits, feature f in x({width}*f+{width}-1 downto {width}*f), unsigned.
-- counts   The count of ones of class c in counts({sums}*c+{sums}-1 downto {sums}*c).
-- winner   The class of the highest count; the lowest such class on ties.

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity {name} is
    port (
        x : in std_logic_vector({inputs} downto 0);
        counts : out std_logic_vector({counts} downto 0);
        winner : out std_logic_vector({label} downto 0)
    );
end entity;

architecture tables of {name} is
    -- Bit `a` of a table, counted from the right, is its value at address `a`.
    function lut(table : std_logic_vector; address : std_logic_vector) return std_logic is
        constant entries : std_logic_vector(table'length - 1 downto 0) := table;
    begin
        return entries(to_integer(unsigned(address)));
    end function;
{signals}begin
{statements}
end architecture;
"""


@register_format("vhd")
def write_vhdl(circuit: Circuit, path: str | os.PathLike[str], words: InputWords | None = None) -> Path:
    """Writes an entity that has the name of the file; for registers at chosen places there is `write_verilog`.

    Args:
        words: Form of the inputs; None is `fixed_point_words(circuit)`.

    Raises:
        ValueError: The name of the file is none that an entity can have.
    """
    path, words = Path(path), words or fixed_point_words(circuit)
    if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", path.stem):
        raise ValueError(
            f"{path.stem!r} is no name of a VHDL entity: a letter, then letters and digits, with single underscores"
        )
    net = netlist(circuit, words)
    names = {name: f"x({bit})" for bit, name in enumerate(net.inputs)}
    outputs = [(port, bit, name) for port in ("counts", "winner") for bit, name in enumerate(getattr(net, port))]
    statements = [_table(table, names) for table in net.tables]
    statements += [f"{port}({bit}) <= {_literal(name, names)};" for port, bit, name in outputs]
    text = TEMPLATE.format(
        name=path.stem,
        features=circuit.sample_size,
        width=words.width,
        sums=count_width(circuit),
        inputs=len(net.inputs) - 1,
        counts=len(net.counts) - 1,
        label=len(net.winner) - 1,
        signals="".join(f"    signal {table.output} : std_logic;\n" for table in net.tables),
        statements="\n".join(f"    {statement}" for statement in statements),
    )
    path.write_text(text, encoding="utf-8")
    return path


def _table(table: Table, names: dict[str, str]) -> str:
    address = " & ".join(names.get(name, name) for name in reversed(table.inputs))
    digits = 2 ** len(table.inputs) // 4
    return f'{table.output} <= lut(X"{table.init:0{digits}x}", {address});'


def _literal(signal: str, names: dict[str, str]) -> str:
    if signal in ("0", "1"):
        return f"'{signal}'"
    return "not " * signal.startswith("~") + names.get(plain(signal), plain(signal))
