"""What an export wrote, run and compared with the network on test data."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut.circuits import Circuit, CompiledCircuit, Design, StreamDesign, simulate
from difflut.circuits.writers.verilog import Written
from difflut.models import LUTNetwork
from experiments.export.steps import Steps

BATCH = 1024
BUDGET = 0.3  # seconds in which each speed is measured
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Expected:
    """Test inputs, and the outputs of the network in evaluation mode.

    Attributes:
        x: `(samples, *features)`.
        logits: `(samples, classes)`.
        tau: Number by which counts are divided to give logits.
        speed: Speed of the network, in samples a second.
    """

    x: np.ndarray
    logits: np.ndarray
    tau: float
    speed: float

    @property
    def classes(self) -> np.ndarray:
        return self.logits.argmax(1)

    def counts(self) -> np.ndarray:
        return np.rint(self.logits.astype(np.float64) * self.tau).astype(np.int64)

    def first(self, samples: int | None) -> "Expected":
        """The same for the first samples alone; None takes all."""
        return Expected(self.x[:samples], self.logits[:samples], self.tau, self.speed)


@dataclass(frozen=True)
class Check:
    """What a comparison found: `first` is the first sample that differs, -1 if none does."""

    name: str
    samples: int
    mismatches: int
    first: int
    samples_per_second: float

    def __str__(self) -> str:
        first = f", first in {self.first}" * bool(self.mismatches)
        speed = f"{self.samples_per_second:,.0f} samples/s"
        return f"{self.name}: {self.samples} samples compared, {self.mismatches} mismatches{first}, {speed}"


def expect(network: LUTNetwork, x: torch.Tensor, tau: float) -> Expected:
    """What the network gives."""
    logits, speed = _timed(lambda x: logits_of(network, x), x)
    return Expected(x.numpy(), logits, tau, speed)


@torch.no_grad()
def logits_of(network: LUTNetwork, x: torch.Tensor) -> np.ndarray:
    """`(samples, classes)`, computed in batches of 1024."""
    return torch.cat([network(part) for part in x.split(BATCH)]).numpy()


def check_back_ends(
    expected: Expected,
    circuit: Circuit,
    design: Design | None,
    stream: StreamDesign | None,
    folder: Path,
    prefix: str,
    simulator: str,
    steps: Steps,
) -> dict[str, Any]:
    """Compares the written files and the engines; None is what could not be run."""
    checks: dict[str, Callable[[], Check]] = {
        "numpy": lambda: _numpy(folder / "circuit.npz", expected),
        "C": lambda: _c(folder / f"{prefix}circuit.c", circuit, prefix, expected, steps),
        "engine, cpu": lambda: _engine("cpu", circuit, expected, steps),
    }
    if torch.cuda.is_available():
        checks["engine, cuda"] = lambda: _engine("cuda", circuit, expected, steps)
    written = {"Verilog": design, "Verilog, streaming": stream} if simulator != "none" else {}
    for name, one in written.items():
        if one:
            checks[name] = partial(_verilog, name, one, simulator, steps)
    found = {}
    for name, check in checks.items():
        wish = "export.simulator" if name in written and simulator != "auto" else None
        if result := steps.attempt(name, check, wish):
            print(result, flush=True)
        found[name] = result and vars(result)
    return found


def _numpy(path: Path, expected: Expected) -> Check:
    return _compare("numpy", Circuit.load(path), expected.x, expected.logits)


def _c(path: Path, circuit: Circuit, prefix: str, expected: Expected, steps: Steps) -> Check:
    """The class is one more column, so that it is compared too."""
    compiled = steps.run(
        "compile C", lambda: CompiledCircuit(path, circuit.sample_size, circuit.num_classes, prefix=prefix)
    )

    def predict(x: np.ndarray) -> np.ndarray:
        return np.column_stack(compiled.counts_and_classes(x))

    return _compare("C", predict, expected.x, np.column_stack([expected.counts(), expected.classes]))


def _engine(device: str, circuit: Circuit, expected: Expected, steps: Steps) -> Check:
    """From arrays to arrays, both in the memory of the CPU."""
    engine = steps.run(f"make engine, {device}", lambda: circuit.engine(device=device))
    return _compare(engine.name, engine.logits, expected.x, expected.logits)


def _verilog(kind: str, design: Written, simulator: str, steps: Steps) -> Check:
    """The testbench; "auto" is the simulator that there is."""
    found = simulate(design, None if simulator == "auto" else simulator)
    name = f"{kind} ({found.simulator})"
    steps.note(f"{name}, build", found.build_seconds)
    steps.note(f"{name}, simulate", found.seconds)
    return Check(name, found.samples, found.mismatches, found.first, found.samples / found.seconds)


def _compare(name: str, predict: Predict, x: np.ndarray, expected: np.ndarray) -> Check:
    found, speed = _timed(predict, x)
    differing = np.flatnonzero((found != expected).any(1))
    first = int(differing[0]) if len(differing) else -1
    return Check(name, len(x), len(differing), first, speed)


def _timed(predict: Callable[[Any], np.ndarray], x: Any) -> tuple[np.ndarray, float]:
    """The outputs, and samples a second at the median call of those that fit into the budget.

    The first call is left out, unless it alone takes ten times the budget.
    """
    start = time.perf_counter()
    found = predict(x)
    first = time.perf_counter() - start
    times = [first] * (first > 10 * BUDGET > 0)
    while not times or sum(times) < BUDGET:
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return found, len(x) / statistics.median(times)
