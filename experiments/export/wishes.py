"""What an export is asked for by name and needs programs or packages of others, looked for before any work."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from difflut.circuits import Circuit, input_words
from difflut.circuits.tools.place import find_nextpnr
from difflut.circuits.tools.prove import find_abc
from difflut.circuits.tools.simulate import find_simulator
from difflut.circuits.tools.synthesis import find_yosys
from difflut.config import ConfigurationError
from difflut.registry import FORMATS
from experiments.export.files import Format


def check_tools(simulator: str, yosys: bool, prove: bool, place: str | None, families: Sequence[str]) -> None:
    """Looks for the programs of what is asked for; of what is done by default, such as "auto", none must be there.

    Raises:
        ConfigurationError: One is missing; the message says how to install it.
    """
    named = [] if simulator in ("auto", "none") else [partial(find_simulator, simulator)]
    needed: dict[str, tuple[object, Sequence[Callable[[], object]]]] = {
        "simulator": (simulator, named),
        "yosys": (yosys, [find_yosys]),
        "prove": (prove, [find_yosys, find_abc]),
        "place": (place, [find_yosys, find_nextpnr]),
        "families": (families, [find_yosys]),
    }
    for name, (value, finders) in needed.items():
        for find in finders if value else ():
            try:
                find()
            except FileNotFoundError as error:
                raise ConfigurationError(f"export.{name} = {value!r}: {error}") from error


def check_formats(formats: Sequence[Format]) -> None:
    """Writes a circuit of one table in each format, which imports what the format needs.

    Raises:
        ConfigurationError: It cannot be written, as where a package is missing.
        UnknownComponentError: A function is no registered format.
    """
    circuit = _one_table()
    for write in formats:
        name = FORMATS.name_of(write)
        with tempfile.TemporaryDirectory() as folder:
            try:
                write(circuit, Path(folder, f"circuit.{name}"), input_words(circuit, False))
            except Exception as error:  # of any package
                raise ConfigurationError(f"export.formats: {name}: {error}") from error


def _one_table() -> Circuit:
    """A circuit of two classes, of which the second has a vote where the only feature is above 0."""
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    thresholds, codebook, table = np.zeros((1, 1), np.float32), np.array([[False], [True]]), np.array([[False, True]])
    return Circuit(thresholds, codebook, zero[None], table, zero, zero, one, zero > 0, one, np.zeros(2, np.int64), 1.0)
