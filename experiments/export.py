"""The export job: a trained network as a circuit, C and Verilog, each compared with it on test data."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut import circuits
from difflut.circuits import (
    Circuit,
    CompiledCircuit,
    Design,
    InputWords,
    estimate_cost,
    fixed_point_words,
    pixel_words,
    simplify,
    simulate,
    synthesize,
    write_c,
    write_testbench,
    write_verilog,
)
from difflut.circuits.simulate import SIMULATORS
from difflut.config import ConfigurationError, job
from difflut.models import LUTNetwork, load_checkpoint
from experiments import circuit_plots
from experiments.data import load_dataset
from experiments.export_table import write_table
from experiments.names import check_names
from experiments.runs import RunFolder

BATCH = 1024


class MismatchError(RuntimeError):
    """A back end computes something else than the network."""


@job
def export(
    run: str,
    folder: str | None = None,
    lut_size: int = 6,
    pipeline: bool | Sequence[str] = True,
    max_width: int = 32,
    simulated_samples: int = 1000,
    simulator: str = "auto",
    yosys: bool = False,
    prove: bool = False,
    place: bool = False,
) -> dict[str, Any]:
    """Writes circuit.npz, circuit.c, verilog/, plots, export.md and report.json; compares each with the network.

    Args:
        run: A run folder; its best checkpoint is taken, and the test set of the data set that its result.json names.
        folder: Where to write; None is the folder `export` in the run's.
        lut_size: Inputs that a LUT may have after simplification.
        pipeline: Stages of the Verilog that registers follow ("encoder", "layer1", …, "compressors", "group_sum",
            "tournament", "argmax"); True is all, False none.
        max_width: The most bits of a feature that is no pixel.
        simulated_samples: Test samples for the simulator.
        simulator: "verilator", "iverilog", "auto" for what there is, or "none".
        yosys: Whether Yosys counts the LUTs of core and encoder.
        prove: Whether ABC proves the netlist equal to the circuit.
        place: Whether nextpnr places and routes the core for an ECP5, which takes minutes; needs registers.

    Returns:
        The content of report.json.

    Raises:
        ConfigurationError: There is no such simulator, or a design without registers is to be placed.
        FileNotFoundError: The run has no network.
        MismatchError: A back end differs from the network.
    """
    check_names("export.simulator", [simulator], [*SIMULATORS, "auto", "none"])
    if place and not pipeline:
        raise ConfigurationError(f"export.place needs registers: set export.pipeline = True, got {pipeline!r}")
    source = RunFolder.open_finished(run)
    folder = Path(folder) if folder else source.path / "export"
    result = json.loads((source.path / "result.json").read_text())
    data = load_dataset(result["dataset"], seed=result["seed"])
    model, x = load_checkpoint(source.best).eval(), data.x_test.numpy()
    seconds, logits = _timed(lambda: _logits(model, data.x_test))
    report = {"run": str(source.path), "dataset": result["dataset"]}
    report["accuracy"] = float((logits.argmax(1) == data.y_test.numpy()).mean())
    report["model"] = {"samples": len(x), "seconds": seconds}
    print(f"model.eval(): {report['accuracy']:.2%} of {len(x)} test samples right, {len(x) / seconds:,.0f} samples/s")

    folder.mkdir(parents=True, exist_ok=True)
    original = Circuit.from_model(model)
    seconds, (circuit, simplified) = _timed(lambda: simplify(original, lut_size))
    circuit.save(folder / "circuit.npz")
    report |= {"simplification": vars(simplified) | {"seconds": seconds}}
    print(f"{simplified}, {seconds:.2f} s")
    _draw(circuit, report["simplification"], folder)

    report["checks"] = _check_software(circuit, folder, x, logits)
    words = pixel_words(circuit) if x.dtype == np.uint8 else fixed_point_words(circuit, max_width)
    seconds, design = _timed(lambda: write_verilog(circuit, folder / "verilog", words, pipeline))
    print(f"Verilog written, latency {design.latency} cycles, {seconds:.2f} s")
    report |= {"latency": design.latency, "word_width": words.width, "exact_words": words.exact}
    if simulator != "none" and simulated_samples:
        some = slice(simulated_samples)
        report["checks"]["verilog"] = _simulate(design, x[some], logits[some], circuit.tau, simulator)
    report["cost"] = {when: _estimate(when, of, words) for when, of in (("before", original), ("after", circuit))}
    if yosys:
        report["yosys"] = _optional("Yosys", lambda: _synthesize(original, circuit, words))
    if prove:
        report["proof"] = _optional("proof", lambda: _prove(circuit, words))
    if place:
        report["placement"] = _optional("placement", lambda: _place(design))
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    write_table(report, folder / "export.md")
    print(f"written: {folder}")
    return report


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _optional(name: str, function: Callable[[], Any]) -> Any:
    """What needs a tool: where it is missing or too slow, a line says so, and how to get it."""
    try:
        return function()
    except (FileNotFoundError, TimeoutError) as error:
        return print(f"{name}: not done: {error}")


@torch.no_grad()
def _logits(model: LUTNetwork, x: torch.Tensor) -> np.ndarray:
    return torch.cat([model(part) for part in x.split(BATCH)]).numpy()


def _draw(circuit: Circuit, simplified: dict[str, Any], folder: Path) -> None:
    circuit_plots.luts_by_layer(simplified["layers_before"], simplified["layers_after"], folder / "luts.png")
    if circuit.num_luts <= circuit_plots.LARGEST:
        circuit_plots.drawing(circuit, folder / "circuit.png")


def _check_software(circuit: Circuit, folder: Path, x: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    checks = {"numpy": _compare("numpy", Circuit.load(folder / "circuit.npz"), x, logits)}
    checks["c"] = _check_c(circuit, folder / "circuit.c", x, logits)
    for device in ("cpu", *["cuda"] * torch.cuda.is_available()):
        engine = circuit.engine(device=device)
        checks[f"engine, {device}"] = _compare(engine.name, engine.logits, x, logits)
    return checks


def _check_c(circuit: Circuit, path: Path, x: np.ndarray, logits: np.ndarray) -> dict[str, Any] | None:
    """Compiles and compares; the class is one more column, so that it is compared too."""
    write_c(circuit, path)

    def check() -> dict[str, Any]:
        seconds, compiled = _timed(lambda: CompiledCircuit(path, circuit.num_features, circuit.num_classes))
        print(f"C compiled, {seconds:.1f} s")

        def predict(x: np.ndarray) -> np.ndarray:
            counts, classes = compiled.counts_and_classes(x)
            return np.column_stack([counts.astype(np.float32) / np.float32(circuit.tau), classes])

        return _compare("C", predict, x, np.column_stack([logits, logits.argmax(1)])) | {"build_seconds": seconds}

    return _optional("C", check)


def _simulate(design: Design, x: np.ndarray, logits: np.ndarray, tau: float, simulator: str) -> dict[str, Any] | None:
    counts = np.rint(logits.astype(np.float64) * tau).astype(np.int64)
    write_testbench(design, x, counts, logits.argmax(1))

    def check() -> dict[str, Any]:
        seconds, found = _timed(lambda: simulate(design, None if simulator == "auto" else simulator))
        return _report(f"Verilog ({found.simulator})", found.samples, found.mismatches, found.first, seconds)

    return _optional("Verilog", check)


def _compare(
    name: str, predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray, expected: np.ndarray
) -> dict[str, Any]:
    seconds, found = _timed(lambda: predict(x))
    differing = np.flatnonzero((found != expected).any(1))
    return _report(name, len(expected), len(differing), int(differing[0]) if len(differing) else -1, seconds)


def _report(name: str, samples: int, mismatches: int, first: int, seconds: float) -> dict[str, Any]:
    speed = f"{samples / seconds:,.0f} samples/s"
    print(f"{name}: {samples} samples compared, {mismatches} mismatches, {seconds:.2f} s, {speed}", flush=True)
    if mismatches:
        raise MismatchError(f"{name} differs from the network in {mismatches} of {samples} samples, first in {first}")
    return {"name": name, "samples": samples, "mismatches": mismatches, "seconds": seconds}


def _estimate(when: str, circuit: Circuit, words: InputWords) -> dict[str, Any]:
    cost = estimate_cost(circuit, words)
    print(f"estimate, {when} simplification: {cost}")
    return vars(cost) | {"core": cost.core}


def _synthesize(original: Circuit, circuit: Circuit, words: InputWords) -> dict[str, dict[str, Any]]:
    """LUTs and depth of core and encoder, without registers, before and after simplification."""
    found: dict[str, dict[str, Any]] = {}
    for when, of in (("before", original), ("after", circuit)):
        with tempfile.TemporaryDirectory() as folder:
            design = write_verilog(of, folder, words)
            seconds, parts = _timed(lambda made=design: [vars(synthesize(made, part)) for part in ("core", "encoder")])
        found[when] = {"core": parts[0], "encoder": parts[1], "seconds": seconds}
        print(f"Yosys, {when} simplification: core {parts[0]['luts']} LUTs, depth {parts[0]['depth']}; "
              f"encoder {parts[1]['luts']} LUTs, depth {parts[1]['depth']}; {seconds:.1f} s")  # fmt: skip
    return found


def _prove(circuit: Circuit, words: InputWords) -> dict[str, Any]:
    seconds, equivalent = _timed(lambda: circuits.prove(circuit, words))
    if not equivalent:
        raise MismatchError("the netlist is not equivalent to the circuit")
    print(f"netlist and circuit: equivalent, {seconds:.1f} s")
    return {"equivalent": equivalent, "seconds": seconds}


def _place(design: Design) -> dict[str, Any]:
    seconds, placement = _timed(lambda: circuits.place(design))
    print(f"placed on ECP5-85: {placement.megahertz:.0f} MHz, latency {placement.nanoseconds:.0f} ns, {seconds:.0f} s")
    return vars(placement) | {"seconds": seconds}
