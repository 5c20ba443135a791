"""The files of an export: the circuit, C, Verilog with its testbench, and pictures."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from difflut.circuits import Circuit, Design, InputWords, Report, write_c, write_testbench, write_verilog
from difflut.models import LUTNetwork, save_checkpoint
from difflut.registry import FORMATS
from experiments.export import plots
from experiments.export.checks import Expected
from experiments.export.steps import Steps

# What an export leaves in its folder, but for verilog/ and what is named with the prefix.
NAMES = ("network.pt", "circuit.npz", "luts.png", "circuit.png", "circuit.svg", "report.json", "export.md")
Format = Callable[..., Path]


def write_files(network: LUTNetwork, circuit: Circuit, folder: Path, prefix: str, steps: Steps) -> None:
    """Writes network.pt, circuit.npz and circuit.c. Files of an earlier export are removed; other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in [*NAMES, *(f"{prefix}circuit.{ending}" for ending in ("c", *FORMATS))]:
        (folder / name).unlink(missing_ok=True)
    save_checkpoint(network, folder / "network.pt")
    circuit.save(folder / "circuit.npz")
    steps.run("write C", lambda: write_c(circuit, folder / f"{prefix}circuit.c", prefix))


def write_design(
    circuit: Circuit,
    folder: Path,
    words: InputWords,
    prefix: str,
    options: Mapping[str, Any],
    expected: Expected,
    steps: Steps,
) -> Design:
    """Writes verilog/, whose testbench has the samples that are given.

    Files there are written over, and further layers of a deeper circuit are removed. Other files stay.

    Args:
        options: Arguments of `write_verilog`.
    """
    design = steps.run(
        "write Verilog", lambda: write_verilog(circuit, folder / "verilog", words, prefix=prefix, **options)
    )
    print(f"latency of the Verilog: {design.latency} cycles")
    steps.run("write testbench", lambda: write_testbench(design, expected.x, expected.counts(), expected.classes))
    return design


def write_formats(
    circuit: Circuit, folder: Path, words: InputWords, prefix: str, formats: Sequence[Format], steps: Steps
) -> None:
    """Writes the files that other tools read; the report names those that cannot be written."""
    for write in formats:
        ending = FORMATS.name_of(write)
        file = partial(write, circuit, folder / f"{prefix}circuit.{ending}", words)
        steps.attempt(ending, partial(steps.run, f"write {ending}", file), "export.formats")


def draw(circuit: Circuit, simplified: Report, folder: Path) -> None:
    """Draws the LUTs of each layer, and a circuit that is small enough."""
    plots.luts_by_layer(simplified.layers_before, simplified.layers_after, folder / "luts.png")
    if circuit.num_luts <= plots.LARGEST:
        plots.drawing(circuit, folder / "circuit.png")
