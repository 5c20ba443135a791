"""The export job: a trained network as a circuit, C and Verilog, each compared with it on test data."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut.circuits import (
    Circuit,
    CompiledCircuit,
    Design,
    count_luts,
    fixed_point_words,
    pixel_words,
    simplify,
    simulate,
    write_c,
    write_testbench,
    write_verilog,
)
from difflut.config import job
from difflut.models import LUTNetwork, load_checkpoint
from experiments.data import load_dataset
from experiments.runs import RunFolder

BATCH = 1024


class MismatchError(RuntimeError):
    """A back end computes something else than the network."""


@job
def export(
    run: str,
    folder: str | None = None,
    lut_size: int = 6,
    pipeline: bool = True,
    max_width: int = 32,
    simulated_samples: int = 1000,
    simulator: str = "auto",
    yosys: bool = False,
) -> dict[str, Any]:
    """Writes circuit.npz, circuit.c, verilog/ and report.json, and compares each with the network on the test set.

    Args:
        run: A run folder; its best checkpoint is taken, and the data set that its result.json names.
        folder: Where to write; None is the folder `export` in the run's.
        lut_size: Inputs that a LUT may have after simplification.
        pipeline: Whether the Verilog has registers after each stage.
        max_width: The most bits of a feature that is no pixel.
        simulated_samples: Test samples for the simulator.
        simulator: "verilator", "iverilog", "auto" for what there is, or "none".
        yosys: Whether Yosys counts the LUTs of core and encoder.

    Returns:
        The content of report.json.

    Raises:
        MismatchError: A back end differs from the network.
    """
    source = RunFolder.open(run)
    folder = Path(folder) if folder else source.path / "export"
    folder.mkdir(parents=True, exist_ok=True)
    result = json.loads((source.path / "result.json").read_text())
    x = load_dataset(result["dataset"], seed=result["seed"]).x_test
    model = load_checkpoint(source.best)
    logits, x = _logits(model, x), x.numpy()

    original = Circuit.from_model(model)
    circuit, simplified = simplify(original, lut_size)
    circuit.save(folder / "circuit.npz")
    print(simplified)
    report = {"run": str(source.path), "dataset": result["dataset"], "simplification": vars(simplified), "checks": {}}
    checks = report["checks"]

    start = time.perf_counter()
    checks["numpy"] = _agreement("numpy", Circuit.load(folder / "circuit.npz")(x), logits, start)
    checks["c"] = _check_c(circuit, folder / "circuit.c", x, logits)

    words = pixel_words(circuit) if x.dtype == np.uint8 else fixed_point_words(circuit, max_width)
    design = write_verilog(circuit, folder / "verilog", words, pipeline)
    report |= {"latency": design.latency, "word_width": words.width, "exact_words": words.exact}
    if simulator != "none" and simulated_samples:
        checks["verilog"] = _simulate(design, x[:simulated_samples], logits[:simulated_samples], circuit.tau, simulator)
    if yosys:
        report["yosys"] = _synthesize(original, design, pipeline)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"written: {folder}")
    return report


@torch.no_grad()
def _logits(model: LUTNetwork, x: torch.Tensor) -> np.ndarray:
    return torch.cat([model(part) for part in x.split(BATCH)]).numpy()


def _check_c(circuit: Circuit, path: Path, x: np.ndarray, logits: np.ndarray) -> dict[str, Any] | None:
    """Compiles and compares; without a compiler it says so."""
    write_c(circuit, path)
    try:
        compiled = CompiledCircuit(path, circuit.num_features, circuit.num_classes)
    except FileNotFoundError as error:
        return print(f"C: not compared: {error}")
    start = time.perf_counter()
    counts, classes = compiled.counts_and_classes(x)
    found = counts.astype(np.float32) / np.float32(circuit.tau)
    # The class is one more column, so that it is compared too.
    expected = np.column_stack([logits, logits.argmax(1)])
    return _agreement("C", np.column_stack([found, classes]), expected, start)


def _simulate(design: Design, x: np.ndarray, logits: np.ndarray, tau: float, simulator: str) -> dict[str, Any] | None:
    """Writes the testbench and runs it; without a simulator it says so."""
    counts = np.rint(logits.astype(np.float64) * tau).astype(np.int64)
    write_testbench(design, x, counts, logits.argmax(1))
    start = time.perf_counter()
    try:
        found = simulate(design, None if simulator == "auto" else simulator)
    except FileNotFoundError as error:
        return print(f"Verilog: not compared: {error}")
    return _report(f"Verilog ({found.simulator})", found.samples, found.mismatches, found.first, start)


def _agreement(name: str, found: np.ndarray, expected: np.ndarray, start: float) -> dict[str, Any]:
    differing = np.flatnonzero((found != expected).any(1))
    return _report(name, len(expected), len(differing), int(differing[0]) if len(differing) else -1, start)


def _report(name: str, samples: int, mismatches: int, first: int, start: float) -> dict[str, Any]:
    seconds = time.perf_counter() - start
    print(f"{name}: {samples} samples compared, {mismatches} mismatches, {seconds:.2f} s", flush=True)
    if mismatches:
        raise MismatchError(f"{name} differs from the network in {mismatches} of {samples} samples, first in {first}")
    return {"samples": samples, "mismatches": mismatches, "seconds": seconds}


def _synthesize(original: Circuit, design: Design, pipeline: bool) -> dict[str, dict[str, int]] | None:
    """LUTs of core and encoder before and after simplification."""
    with tempfile.TemporaryDirectory() as folder:
        before = write_verilog(original, folder, design.words, pipeline)
        try:
            counts = {
                when: {part: count_luts(made, part) for part in ("core", "encoder")}
                for when, made in (("before", before), ("after", design))
            }
        except FileNotFoundError as error:
            return print(f"Yosys: not counted: {error}")
    for when, parts in counts.items():
        print(f"Yosys, {when} simplification: core {parts['core']} LUTs, encoder {parts['encoder']} LUTs")
    return counts
