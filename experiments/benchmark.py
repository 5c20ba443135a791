"""The benchmark job: the time of a whole training step, compiled kernels beside the torch reference."""

import csv
import os
import resource
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from difflut import kernels
from difflut.config import job
from difflut.layers import GroupSum
from difflut.models import LUTNetwork
from difflut.registry import LAYERS, NODES
from difflut.training import OPTIMIZERS, Trainer
from experiments import plots
from experiments.runs import RunFolder

COLUMNS = ("node", "layer", "batch", "threads", "backend", "step_ms", "samples_per_second", "memory_mb", "speedup")


@job
def benchmark(
    node_types: Sequence[str] = tuple(NODES),
    batch_sizes: Sequence[int] = (128,),
    input_size: int = 2352,
    widths: Sequence[int] = (2000, 1000),
    n: int = 6,
    first_layer: str = "random",
    threads: Sequence[int] = (1, 2),
    backends: Sequence[str] = ("reference", "auto"),
    seconds: float = 2.0,
    device: str = "auto",
    runs: str = "runs",
) -> list[dict[str, Any]]:
    """Times a training step (forward, loss, backward, Adam) of networks on random bits, and writes table and plot.

    Each figure comes from a process of its own, so that peak memory is its own too; it is the median over the steps
    that fit into `seconds` (ten at least), after warming up.

    Args:
        node_types: Names of node types; difflogic is measured with n = 2.
        batch_sizes: Samples in a step.
        input_size: Input bits.
        widths: Nodes of each layer.
        n: Inputs of each node.
        first_layer: Name of the first layer's type; the others are random.
        threads: CPU threads; a GPU is measured with the first number only.
        backends: Of the kernels: "reference" is plain torch, "auto" the fastest there is.
        seconds: Time for each figure.
        device: "auto" takes a GPU where there is one.
        runs: The folder of run folders.

    Returns:
        The rows of the table.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    folder = RunFolder.create(runs, "benchmark")
    rows: list[dict[str, Any]] = []
    print(_line(dict(zip(COLUMNS, COLUMNS, strict=True))))
    for node in node_types:
        for batch in batch_sizes:
            for count in threads if device == "cpu" else threads[:1]:
                reference_ms = None
                for backend in backends:
                    case = {"node": node, "layer": first_layer, "batch": batch, "threads": count, "backend": backend}
                    row = case | _in_a_new_process(
                        case, input_size, tuple(widths), 2 if node == "difflogic" else n, seconds, device
                    )
                    reference_ms = row["step_ms"] if backend == "reference" else reference_ms
                    row["speedup"] = reference_ms / row["step_ms"] if reference_ms else None
                    rows.append(row)
                    print(_line(row), flush=True)
    with (folder.path / "steps.csv").open("w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder.path / "steps.md").write_text(_markdown(rows))
    plots.step_times(rows, folder.plots / "steps.png")
    print(f"table and plot: {folder.path}")
    return rows


def _in_a_new_process(case: dict[str, Any], *arguments: Any) -> dict[str, float]:
    with torch.multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (case, *arguments))


def _measure(
    case: dict[str, Any], input_size: int, widths: tuple[int, ...], n: int, seconds: float, device: str
) -> dict[str, float]:
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    layers, width = [], input_size
    for number, output_size in enumerate(widths):
        layer_type = LAYERS[case["layer"] if number == 0 else "random"]
        layers.append(layer_type(width, output_size, NODES[case["node"]], n=n, seed=number))
        width = output_size
    model = LUTNetwork(None, layers, GroupSum(10, tau=10.0)).to(device).train()
    x = torch.rand(case["batch"], input_size, device=device).round()
    y = torch.randint(10, (case["batch"],), device=device)
    trainer = Trainer(model, x, y, batch_size=case["batch"], optimizer=partial(OPTIMIZERS[0], lr=0.01))
    before = _peak_memory_mb(device)
    with kernels.use_backend(case["backend"]):
        for _ in range(3):
            trainer.step(x, y)
        times: list[float] = []
        while len(times) < 10 or sum(times) < seconds:
            _synchronize(device)
            start = time.perf_counter()
            trainer.step(x, y)
            _synchronize(device)
            times.append(time.perf_counter() - start)
    step = statistics.median(times)
    return {
        "step_ms": 1e3 * step,
        "samples_per_second": case["batch"] / step,
        "memory_mb": _peak_memory_mb(device) - before,
    }


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _peak_memory_mb(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if os.uname().sysname == "Darwin" else 2**10)


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{_text(row[column]):>{max(len(column), 10)}}" for column in COLUMNS)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and value < 100
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_text(row[column]) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines) + "\n"
