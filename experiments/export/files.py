"""The files of an export: the circuit, C, Verilog with its testbench, and pictures."""

from collections.abc import Sequence
from pathlib import Path

from difflut.circuits import Circuit, Design, InputWords, Report, write_c, write_testbench, write_verilog
from difflut.models import LUTNetwork, save_checkpoint
from experiments.export import plots
from experiments.export.checks import Expected
from experiments.export.steps import Steps

# All that an export leaves in its folder, but for verilog/.
NAMES = ("network.pt", "circuit.npz", "circuit.c", "luts.png", "circuit.png", "circuit.svg", "report.json", "export.md")


def write_files(
    network: LUTNetwork,
    circuit: Circuit,
    folder: Path,
    words: InputWords,
    pipeline: bool | Sequence[str],
    counts: bool,
    levels: int,
    expected: Expected,
    steps: Steps,
) -> Design:
    """Writes network.pt, circuit.npz, circuit.c and verilog/, whose testbench has the samples that are given.

    The files of an export that was there before are removed, but those in verilog/ written over, with the layers of a
    deeper circuit removed. Other files stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    save_checkpoint(network, folder / "network.pt")
    circuit.save(folder / "circuit.npz")
    steps.run("write C", lambda: write_c(circuit, folder / "circuit.c"))
    design = steps.run(
        "write Verilog", lambda: write_verilog(circuit, folder / "verilog", words, pipeline, counts, levels)
    )
    print(f"latency of the Verilog: {design.latency} cycles")
    steps.run("write testbench", lambda: write_testbench(design, expected.x, expected.counts(), expected.classes))
    return design


def draw(circuit: Circuit, simplified: Report, folder: Path) -> None:
    """Draws the LUTs of each layer, and a circuit that is small enough."""
    plots.luts_by_layer(simplified.layers_before, simplified.layers_after, folder / "luts.png")
    if circuit.num_luts <= plots.LARGEST:
        plots.drawing(circuit, folder / "circuit.png")
