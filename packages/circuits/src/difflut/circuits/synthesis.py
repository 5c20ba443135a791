"""The number of 6-input LUTs of written Verilog, by Yosys."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from difflut.circuits.verilog import Design

# Tables are LUTs already; everything else is broken into gates and mapped.
SCRIPT = """\
read_verilog -icells -DDIFFLUT_YOSYS {files}
hierarchy -top {top}
proc
flatten
opt
techmap t:* t:$lut %d
opt -fast
abc -lut 6
opt_clean
tee -q -o {report} stat -json
"""


def count_luts(design: Design, part: str) -> int:
    """LUTs of a part of the design: "core", "encoder" or "circuit".

    Raises:
        FileNotFoundError: There is no Yosys.
        RuntimeError: It fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        script, report = Path(folder, "script.ys"), Path(folder, "report.json")
        files = " ".join(str((design.folder / name).resolve()) for name in design.files)
        script.write_text(SCRIPT.format(files=files, top=part, report=report))
        result = subprocess.run([*_yosys(), str(script)], capture_output=True, text=True)
        if result.returncode or not report.exists():
            raise RuntimeError(f"Yosys failed on {part}:\n{(result.stderr or result.stdout)[-4000:]}")
        return json.loads(report.read_text())["design"]["num_cells_by_type"].get("$lut", 0)


def _yosys() -> list[str]:
    """A command that runs the script that follows it."""
    if importlib.util.find_spec("pyosys"):
        code = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"
        return [sys.executable, "-c", code]
    if shutil.which("yosys"):
        return ["yosys", "-q", "-s"]
    raise FileNotFoundError("no Yosys found; pip install pyosys (or apt install yosys)")
