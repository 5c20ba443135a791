"""Written Verilog, run by a simulator on given inputs."""

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from difflut.circuits.tools.programs import run
from difflut.circuits.writers.testbench import BUILD, RUN, SIMULATORS
from difflut.circuits.writers.verilog import Written


@dataclass(frozen=True)
class Simulation:
    """What a simulation found.

    Attributes:
        simulator: Its name.
        samples: Number of samples that were compared.
        mismatches: Number of those that differ.
        first: The first that does, -1 if none.
        build_seconds: Seconds that the simulator took to compile the design.
        seconds: Seconds that it took to run.
        cycles: Clock cycles that all samples took, where the testbench says it.
    """

    simulator: str
    samples: int
    mismatches: int
    first: int
    build_seconds: float
    seconds: float
    cycles: int | None = None


def simulate(design: Written, simulator: str | None = None, timeout: float = 3600.0) -> Simulation:
    """Runs the testbench in Verilator, or in Icarus where that is missing.

    Args:
        simulator: "verilator" or "iverilog", to choose.
        timeout: Seconds that building and running it may each take.

    Raises:
        FileNotFoundError: There is no simulator.
        RuntimeError: It fails.
        TimeoutError: It takes longer than that.
    """
    simulator = find_simulator(simulator)
    files = [str((design.folder / name).resolve()) for name in [*design.files, "testbench.v"]]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("inputs.hex", "expected.hex"):
            Path(folder, name).symlink_to((design.folder / name).resolve())
        start = time.perf_counter()
        run(simulator, [*BUILD[simulator], *files], timeout, folder)
        built = time.perf_counter()
        output = run(simulator, RUN[simulator], timeout, folder).stdout
        end = time.perf_counter()
    said = {line.split()[0]: [int(number) for number in line.split()[1:]]
            for line in output.splitlines() if line.startswith(("RESULT", "CYCLES"))}  # fmt: skip
    if "RESULT" not in said:
        raise RuntimeError(f"{simulator} ended without a result:\n{output}")
    samples, mismatches, first = said["RESULT"]
    cycles = said.get("CYCLES", [None])[0]
    return Simulation(simulator, samples, mismatches, first, built - start, end - built, cycles)


def find_simulator(simulator: str | None = None) -> str:
    """The simulator of that name, or the first that there is.

    Raises:
        FileNotFoundError: There is none.
    """
    candidates = [simulator] if simulator else SIMULATORS
    found = next(filter(shutil.which, candidates), None)
    if found is None:
        raise FileNotFoundError(f"no Verilog simulator found; apt install {' or '.join(candidates)}")
    return found
