"""Berkeley's logic format: for ABC, Yosys, SIS and mappers of FPGAs."""

import os
from pathlib import Path

from difflut.circuits.arithmetic.netlist import netlist
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.writers.blif import Blif
from difflut.registry import register_format


@register_format("blif")
def write_blif(circuit: Circuit, path: str | os.PathLike[str], words: InputWords | None = None) -> Path:
    """Writes a model of tables with up to six inputs, which has the name of the file.

    Its inputs are `x[0]`, …: the words of all features, feature 0 first, the lowest bit first. Its outputs are
    `counts[0]`, …, the counts of all classes, and `winner[0]`, …, the class, each likewise.

    Args:
        words: Form of the inputs; None is `fixed_point_words(circuit)`.
    """
    path, blif, found = Path(path), Blif(), netlist(circuit, words)
    inputs, outputs = found.ports
    names = dict(zip(found.inputs, inputs, strict=True))
    for table in found.tables:
        names[table.output] = blif.table(table.init, [names[one] for one in table.inputs])
    constants = {"0": blif.constant(0), "1": blif.constant(1)}

    def named(signal: str) -> str:
        return constants.get(signal) or (f"~{names[signal[1:]]}" if signal.startswith("~") else names[signal])

    results = [named(signal) for signal in found.counts + found.winner]
    path.write_text(blif.text(path.stem, inputs, results, outputs), encoding="utf-8")
    return path
