"""A netlist of the Verilog, proven equal to the circuit for every input."""

import importlib.util
import shutil
import tempfile
from pathlib import Path

from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.tools.programs import SHOWN, run
from difflut.circuits.tools.synthesis import mapping, run_yosys
from difflut.circuits.writers.blif import core_blif, encoder_blif
from difflut.circuits.writers.verilog import write_verilog


def prove(circuit: Circuit, words: InputWords, timeout: float = 600.0, head: str = "tables") -> bool:
    """Whether the Verilog is equivalent to the circuit: encoder and core, mapped to LUTs by Yosys, by ABC's `cec`.

    The circuit is written for ABC from its arrays, not by way of the Verilog. The Verilog has no registers here: these
    do not change what is computed, and a simulation tests pipelined designs.

    Args:
        timeout: Seconds that the proof may take.
        head: How votes are counted and compared, as in `write_verilog`; carry chains are mapped to LUTs, too.

    Raises:
        FileNotFoundError: There is no Yosys or no ABC.
        RuntimeError: They fail.
        TimeoutError: Neither a proof nor a difference was found in time.
    """
    abc = find_abc()
    with tempfile.TemporaryDirectory() as folder:
        design = write_verilog(circuit, Path(folder, "verilog"), words, counts=True, head=head)
        # The core's inputs are free, so that it is proven for more than the encoder gives.
        for part, text in (("encoder", encoder_blif(circuit, words)), ("core", core_blif(circuit, head))):
            run_yosys(mapping(design, part) + f"write_blif {folder}/netlist.blif\n")
            Path(folder, "circuit.blif").write_text(text, encoding="utf-8")
            if not _equivalent(abc, folder, timeout):
                return False
    return True


def _equivalent(abc: str, folder: str, timeout: float) -> bool:
    result = run("ABC", [abc, "-q", "cec circuit.blif netlist.blif"], timeout, folder, may_fail=True)
    if "Networks are equivalent" in result.stdout:
        return True
    if "NOT EQUIVALENT" in result.stdout:
        return False
    raise RuntimeError(f"ABC failed:\n{(result.stderr + result.stdout)[-SHOWN:]}")


def find_abc() -> str:
    """ABC as pyosys or Yosys bring it.

    Raises:
        FileNotFoundError: There is none.
    """
    package = importlib.util.find_spec("pyosys")
    shipped = Path(package.origin).with_name("yosys-abc") if package and package.origin else None
    if shipped and shipped.exists():
        return str(shipped)
    for name in ("yosys-abc", "berkeley-abc", "abc"):
        if shutil.which(name):
            return name
    raise FileNotFoundError("no ABC found; pip install pyosys (or apt install yosys)")
