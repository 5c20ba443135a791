"""Written Verilog, mapped to 6-input LUTs by Yosys."""

import importlib.util
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from difflut.circuits.arithmetic.head import has_chains
from difflut.circuits.streaming.verilog import StreamDesign
from difflut.circuits.tools.programs import run
from difflut.circuits.writers.verilog import Written

TIMEOUT = 600.0
# Tables are LUTs already; everything else is broken into gates and mapped.
MAP = """\
read_verilog -icells -DDIFFLUT_YOSYS {files}
hierarchy -top {top}
proc
flatten
opt {registers}
techmap t:* t:$lut %d
opt -fast {registers}
abc -lut 6
opt_clean
"""
# LUTs of two outputs and carry chains stay what they are on Xilinx devices.
PRIMITIVES = "read_verilog -lib +/xilinx/cells_sim.v\nverilog_defines -DDIFFLUT_XILINX\n"
REPORT = """\
tee -q -o {folder}/report.json stat -json
tee -q -o {folder}/path.txt ltp -noff
"""


@dataclass(frozen=True)
class Mapped:
    """A part after mapping: its 6-input LUTs, those on its longest path between registers, and its CARRY4.

    A LUT of two outputs is one; carry chains are part of a path, too.
    """

    luts: int
    depth: int
    carries: int


def synthesize(design: Written, part: str) -> Mapped:
    """Maps a part of the design: "core", "encoder" or "circuit".

    Raises:
        FileNotFoundError: There is no Yosys.
        RuntimeError: It fails.
        TimeoutError: It takes longer than ten minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        run_yosys(mapping(design, part, has_chains(design.head)) + REPORT.format(folder=folder))
        cells = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
        path = re.search(r"\(length=(\d+)\)", Path(folder, "path.txt").read_text(encoding="utf-8"))
        luts, carries = cells.get("$lut", 0) + cells.get("LUT6_2", 0), cells.get("CARRY4", 0)
        return Mapped(luts, int(path.group(1)) if path else 0, carries)


def mapping(design: Written, part: str, primitives: bool = False) -> str:
    """The script that reads the design and maps a part of it; carry chains come to tables or stay `primitives`."""
    # Registers of a circuit stay without enable and reset; those of a stream have them, and memories.
    registers = "-mux_undef" if isinstance(design, StreamDesign) else "-nodffe -nosdff"
    return PRIMITIVES * primitives + MAP.format(files=_files(design), top=design.prefix + part, registers=registers)


def read_primitives(design: Written) -> str:
    """The script that reads the design in primitives of Xilinx devices."""
    return f"{PRIMITIVES}read_verilog {_files(design)}\n"


def _files(design: Written) -> str:
    return " ".join(str((design.folder / name).resolve()) for name in design.files)


def run_yosys(script: str) -> None:
    """Runs a script in a process of its own.

    Raises:
        FileNotFoundError: There is no Yosys.
        RuntimeError: It fails.
        TimeoutError: It takes longer than ten minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "script.ys")
        file.write_text(script, encoding="utf-8")
        run("Yosys", [*find_yosys(), str(file)], TIMEOUT)


def find_yosys() -> list[str]:
    """A command that runs the script that follows it.

    Raises:
        FileNotFoundError: There is no Yosys.
    """
    if importlib.util.find_spec("pyosys"):
        code = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"
        return [sys.executable, "-c", code]
    if shutil.which("yosys"):
        return ["yosys", "-q", "-s"]
    raise FileNotFoundError("no Yosys found; pip install pyosys (or apt install yosys)")
