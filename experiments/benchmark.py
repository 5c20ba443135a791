"""The benchmark job: the time of a whole training step, beside the torch reference and other libraries."""

import csv
import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from difflut import kernels
from difflut.config import job
from difflut.layers import GroupSum
from difflut.models import LUTNetwork
from difflut.registry import LAYERS, NODES
from difflut.training import OPTIMIZERS, Trainer
from experiments import plots
from experiments.peers import PEERS
from experiments.runs import RunFolder

CLASSES = 10
COLUMNS = (
    "node", "first_layer", "batch", "threads", "backend",
    "step_ms", "samples_per_second", "memory_mb", "floor_ms", "speedup",
)  # fmt: skip


@job
def benchmark(
    node_types: Sequence[str] = ("dwn",),
    batch_sizes: Sequence[int] = (128,),
    input_size: int = 2352,
    widths: Sequence[int] = (2000, 1000),
    n: int = 6,
    first_layers: Sequence[str] = ("random",),
    threads: Sequence[int] = (1, 2),
    backends: Sequence[str] = ("reference", "auto"),
    seconds: float = 2.0,
    device: str = "auto",
    runs: str = "runs",
) -> list[dict[str, Any]]:
    """Times a training step (forward, loss, backward, Adam) of networks on random bits; writes tables and a plot.

    Each figure comes from a process of its own, so that its peak memory is its own too, and is the median over what
    fits into `seconds` after warming up. On a GPU the compiled step is replayed as a CUDA graph and includes the
    choice of its samples. `floor_ms` is the time to move, once, the bytes that any such step must move: parameters and
    their two moments read and written, and between layers activations and their gradients written and read; at the
    bandwidth of a large copy measured beside it. `speedup` is over the torch reference of the same case.

    Args:
        node_types: Names of node types; difflogic is measured with n = 2.
        batch_sizes: Samples in a step.
        input_size: Input bits.
        widths: Nodes of each layer.
        n: Inputs of each node.
        first_layers: Names of layer types for the first layer; the others are random.
        threads: CPU threads; a GPU is measured with the first number only.
        backends: "reference" is plain torch, "auto" the fastest there is; "torch_dwn" and "torchlogix" are other
            libraries, measured where they are installed and know the node type.
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
    for case in _cases(node_types, first_layers, batch_sizes, threads if device == "cpu" else threads[:1], backends):
        inputs = 2 if case["node"] == "difflogic" else n
        row = case | _in_a_new_process(case, input_size, tuple(widths), inputs, seconds, device)
        reference = _reference_of(row, rows)
        rows.append(row | {"speedup": reference / row["step_ms"] if reference else None})
        print(_line(rows[-1]), flush=True)
    with (folder.path / "steps.csv").open("w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder.path / "steps.md").write_text(_markdown(rows))
    plots.step_times(rows, folder.plots / "steps.png")
    print(f"tables and plot: {folder.path}")
    return rows


def _cases(
    nodes: Sequence[str],
    first_layers: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int],
    backends: Sequence[str],
) -> Iterator[dict[str, Any]]:
    for backend in backends:
        if backend in PEERS and importlib.util.find_spec(backend) is None:
            print(f"{backend}: not installed, left out")
    for node in nodes:
        for first_layer in first_layers:
            for batch in batches:
                for count in threads:
                    for backend in backends:
                        if backend not in PEERS or _can(backend, node, first_layer):
                            yield {
                                "node": node,
                                "first_layer": first_layer,
                                "batch": batch,
                                "threads": count,
                                "backend": backend,
                            }


def _can(peer: str, node: str, first_layer: str) -> bool:
    _, nodes, first_layers = PEERS[peer]
    return importlib.util.find_spec(peer) is not None and node in nodes and first_layer in first_layers


def _reference_of(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> float | None:
    same = ("node", "first_layer", "batch", "threads")
    found = (r for r in [*rows, row] if r["backend"] == "reference" and all(r[key] == row[key] for key in same))
    return next((r["step_ms"] for r in found), None)


def _in_a_new_process(case: dict[str, Any], *arguments: Any) -> dict[str, float]:
    with torch.multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (case, *arguments))


def _measure(
    case: dict[str, Any], input_size: int, widths: tuple[int, ...], n: int, seconds: float, device: str
) -> dict[str, float]:
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    batch = case["batch"]
    graph = device != "cpu" and case["backend"] == "auto"
    steps = max(4, min(100, 2**18 // batch)) if graph else 1
    x = torch.rand(steps * batch, input_size, device=device).round_()
    y = torch.randint(CLASSES, (steps * batch,), device=device)
    network = _network(case, input_size, widths, n).to(device).train()
    before = _peak_memory_mb(device)
    if case["backend"] in PEERS:
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
        run = partial(_peer_step, network, optimizer, x, y)
    else:
        adam = partial(OPTIMIZERS[0], lr=0.01)
        trainer = Trainer(network, x, y, batch_size=batch, optimizer=adam, graph=graph)
        run = trainer.run_epoch if graph else partial(trainer.step, x, y)
    with kernels.use_backend("reference" if case["backend"] == "reference" else "auto"):
        step = _median_seconds(run, seconds, device) / steps
    return {
        "step_ms": 1e3 * step,
        "samples_per_second": batch / step,
        "memory_mb": _peak_memory_mb(device) - before,
        "floor_ms": 1e3 * _bytes_of_a_step(network, batch, input_size, widths) / _copy_bandwidth(device),
    }


def _network(case: dict[str, Any], input_size: int, widths: tuple[int, ...], n: int) -> nn.Module:
    if case["backend"] in PEERS:
        make_peer = PEERS[case["backend"]][0]
        return make_peer(case["node"], case["first_layer"], input_size, widths, n, CLASSES)
    layers = []
    for number, (inputs, outputs) in enumerate(zip((input_size, *widths), widths, strict=False)):
        layer_type = LAYERS[case["first_layer"] if number == 0 else "random"]
        layers.append(layer_type(inputs, outputs, NODES[case["node"]], n=n, seed=number))
    return LUTNetwork(None, layers, GroupSum(CLASSES, tau=10.0))


def _peer_step(network: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    loss = F.cross_entropy(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _median_seconds(run: Any, seconds: float, device: str) -> float:
    for _ in range(3):
        run()
    times: list[float] = []
    while len(times) < 10 or sum(times) < seconds:
        _synchronize(device)
        start = time.perf_counter()
        run()
        _synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _bytes_of_a_step(network: nn.Module, batch: int, input_size: int, widths: Sequence[int]) -> float:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    between = sum(widths[:-1])
    # Weights and two moments, read and written; input bits; activations at a bit at least, their gradients as floats.
    return 6 * 4 * parameters + batch * (input_size + 2 * between) / 8 + 2 * 4 * batch * between


def _copy_bandwidth(device: str) -> float:
    source = torch.rand(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _median_seconds(partial(target.copy_, source), 0.2, device)


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _peak_memory_mb(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    # Linux counts kilobytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{_text(row[column]):>{max(len(column), 10)}}" for column in COLUMNS)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    return "-" if value is None else str(value)


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_text(row[column]) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines) + "\n"
