"""The benchmark job: the time of a whole training step, beside the torch reference and other libraries."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import torch

from difflut.config import ConfigurationError
from difflut.kernels.backends import CHOICES
from difflut.kernels.validation import MAX_INPUTS
from difflut.models import LUTNetwork, describe
from difflut.registry import LAYERS, NODES, register_job
from experiments.benchmark import timing
from experiments.benchmark.peers import PEERS
from experiments.benchmark.plots import step_times, step_times_by_batch
from experiments.runs import RunFolder
from experiments.shared.arguments import (
    check_effect,
    check_names,
    check_seconds,
    check_some,
    check_whole,
    check_wholes,
    device_named,
)
from experiments.shared.failures import JobError, optional
from experiments.shared.files import write_file
from experiments.shared.tables import cell, csv_text, escaped, markdown_table

COLUMNS = (
    "node", "first_layer", "batch", "threads", "backend", "step_ms", "samples_per_second", "memory_mb", "floor_ms",
    "of_floor", "speedup", "note",
)  # fmt: skip
HEADER = """# Training steps on {device}

A whole step: forward, loss, backward, Adam; medians; `torch` {torch}; {input_size} bits to {widths} nodes of n = {n},
or the nearest n that the type may have; a pin of a learnable layer has {candidates} inputs to choose from. One thread
of a CPU is measured in CPU time, which other processes do not lengthen. A step of `auto` is one of `train.graph = True`
and includes the choice of its samples among packed bits. `floor_ms` is the time to move what a step must move
(`floor_bytes` in `benchmark/timing.py`) at the bandwidth of a large copy, {bandwidth:,.0f} GB/s, `of_floor` its share
of the step; `memory_mb` is what the step needs besides data and parameters; `speedup` is over the torch reference.

"""


@register_job("benchmark")
def benchmark(
    node_types: Sequence[str] = ("dwn",),
    batch_sizes: Sequence[int] = (128,),
    input_size: int = 2352,
    widths: Sequence[int] = (2000, 1000),
    n: int = 6,
    top_k: int | None = None,
    first_layers: Sequence[str] = ("random",),
    threads: Sequence[int] = (1, 2),
    backends: Sequence[str] = ("reference", "auto"),
    network: Callable[..., LUTNetwork] | None = None,
    input_shape: Sequence[int] | None = None,
    seconds: float = 2.0,
    device: str = "auto",
    runs: str = "runs",
) -> list[dict[str, Any]]:
    """Times a training step (forward, loss, backward, Adam) of networks on random bits; writes tables and a plot.

    Each figure is the median over what fits into `seconds` after warming up; one thread of a CPU is measured in CPU
    time, which other processes do not lengthen. Steps of "auto" are those of `train.graph = True` and include the
    choice of their samples among packed bits. `floor_ms` is the time to move what any such step must move
    (`timing.floor_bytes`) at the bandwidth of a large copy. `speedup` is over the torch reference of the same case,
    which is skipped where it would not fit into memory.

    Args:
        node_types: Names of node types.
        batch_sizes: Samples in a step.
        input_size: Input bits.
        widths: Nodes of each layer.
        n: Inputs of each node, or the nearest number that its type may have.
        top_k: Candidates of each pin of a learnable layer; None is all inputs.
        first_layers: Names of layer types for the first layer; the others are random.
        threads: CPU threads; a GPU is measured with the first number only.
        backends: "reference" is plain torch, "auto" the fastest there is; "torch_dwn" and "torchlogix" are other
            libraries, measured where they are installed and know the node type.
        network: Function that makes a network for `input_shape`, without its encoder, in the place of those by node
            type and width.
        input_shape: Shape of one sample of it, such as (32, 32, 3).
        seconds: Time for each figure.
        device: "auto" takes a GPU where there is one.
        runs: The folder of run folders.

    Returns:
        The rows of the table.

    Raises:
        ConfigurationError: A name is not known, a number cannot be, or an argument has no effect.
        JobError: A case failed, such as one without enough memory; raised when all others are measured and written.
    """
    _check_steps(batch_sizes, threads, backends, seconds)
    _check_networks(node_types, first_layers, input_size, widths, n, top_k)
    if network is None:
        check_effect("benchmark", {"input_shape": input_shape}, "without benchmark.network")
    else:
        given = {"node_types": node_types, "first_layers": first_layers, "input_size": input_size}
        check_effect("benchmark", given | {"widths": widths, "n": n, "top_k": top_k}, "on benchmark.network")
    backends = _comparable(backends, top_k)
    device = str(device_named("benchmark.device", device))
    if ":" in device:
        raise ConfigurationError(f"benchmark.device = {device!r}: say 'cuda', and which GPU by CUDA_VISIBLE_DEVICES")
    folder = RunFolder.create(runs, "benchmark")
    header = _header(device, input_size, widths, n, top_k)
    rows: list[dict[str, Any]] = []
    print(_line(dict(zip(COLUMNS, COLUMNS, strict=True))))
    description = None if network is None else _described(network, input_shape)
    if description:
        node_types, first_layers = ["its own"], ["its own"]
    for case in _cases(node_types, first_layers, batch_sizes, threads if device == "cpu" else threads[:1], backends):
        measured = timing.measure(
            timing.Case(
                **case,
                input_size=input_size,
                widths=tuple(widths),
                n=n if description else NODES[case["node"]].nearest_inputs(n),
                top_k=top_k,
                seconds=seconds,
                device=device,
                description=description,
            )
        )
        row = dict.fromkeys(COLUMNS) | case | measured
        rows.append(row | {"speedup": _speedup(row, rows)})
        print(_line(rows[-1]), flush=True)
        _write(folder, header, rows)
    draw = step_times_by_batch if len(batch_sizes) > 1 else step_times
    if timed := [row for row in rows if row["step_ms"]]:
        with optional("plots/steps.png"):
            draw(timed, folder.plots / "steps.png")
    print(f"tables and plot: {folder.path}")
    _check_measured(rows, folder)
    return rows


def _check_measured(rows: Sequence[dict[str, Any]], folder: RunFolder) -> None:
    """Raises what failed; that of another library is no failure of the job."""
    noted = [row for row in rows if row["note"] and row["backend"] not in PEERS]
    if failed := [row for row in noted if not row["note"].startswith(timing.SKIPPED)]:
        first = f"{failed[0]['node']} by {failed[0]['backend']}, batch {failed[0]['batch']}: {failed[0]['note']}"
        raise JobError(
            f"{folder.path}: {len(failed)} of {len(rows)} cases failed, the first is {first}; the table has the "
            "others; mend that, or leave these out"
        )


def _check_steps(batch_sizes: Sequence[int], threads: Sequence[int], backends: Sequence[str], seconds: float) -> None:
    check_wholes("benchmark.batch_sizes", batch_sizes)
    check_wholes("benchmark.threads", threads)
    check_some("benchmark.backends", backends)
    check_names("benchmark.backends", backends, [*CHOICES, *PEERS])
    check_seconds("benchmark.seconds", seconds)


def _check_networks(
    node_types: Sequence[str],
    first_layers: Sequence[str],
    input_size: int,
    widths: Sequence[int],
    n: int,
    top_k: int | None,
) -> None:
    for argument, names, known in (("node_types", node_types, NODES), ("first_layers", first_layers, LAYERS)):
        check_some(f"benchmark.{argument}", names)
        check_names(f"benchmark.{argument}", names, known)
    check_wholes("benchmark.widths", widths)
    if widths[-1] % timing.CLASSES:
        raise ConfigurationError(f"benchmark.widths must end with a multiple of {timing.CLASSES}; got {widths!r}")
    check_whole("benchmark.input_size", input_size)
    check_whole("benchmark.n", n, most=MAX_INPUTS)
    if top_k is not None:
        check_whole("benchmark.top_k", top_k, most=input_size)
    if "learnable" not in first_layers:
        check_effect("benchmark", {"top_k": top_k}, 'without "learnable" among benchmark.first_layers')


def _described(network: Callable[..., LUTNetwork], input_shape: Sequence[int] | None) -> dict[str, Any]:
    """The description of the network without its encoder, from which another process builds it."""
    if input_shape is None:
        raise ConfigurationError("benchmark.network needs benchmark.input_shape, such as (32, 32, 3)")
    return describe(network(input_shape, timing.CLASSES)) | {"encoder": None}


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
    names = "node", "first_layer", "batch", "threads", "backend"
    for node, first_layer, batch, count, backend in product(nodes, first_layers, batches, threads, backends):
        if backend not in PEERS or _can(backend, node, first_layer):
            yield dict(zip(names, (node, first_layer, batch, count, backend), strict=True))


def _comparable(backends: Sequence[str], top_k: int | None) -> list[str]:
    if top_k is not None and (dense := [backend for backend in backends if backend in PEERS]):
        print(f"{', '.join(dense)}: no top-K wiring, left out")
        return [backend for backend in backends if backend not in PEERS]
    return list(backends)


def _can(peer: str, node: str, first_layer: str) -> bool:
    _, nodes, first_layers = PEERS[peer]
    return importlib.util.find_spec(peer) is not None and node in nodes and first_layer in first_layers


def _speedup(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> float | None:
    same = ("node", "first_layer", "batch", "threads")
    references = (r for r in [*rows, row] if r["backend"] == "reference" and all(r[key] == row[key] for key in same))
    reference = next((r["step_ms"] for r in references), None)
    return reference / row["step_ms"] if reference and row["step_ms"] else None


def _header(device: str, input_size: int, widths: Sequence[int], n: int, top_k: int | None) -> str:
    return HEADER.format(
        device=torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU cores",
        torch=torch.__version__,
        input_size=input_size,
        widths=", ".join(map(str, widths)),
        n=n,
        candidates=top_k or "all",
        bandwidth=timing.copy_bandwidth(device) / 1e9,
    )


def _write(folder: RunFolder, header: str, rows: Sequence[dict[str, Any]]) -> None:
    write_file(folder.path / "steps.csv", csv_text({column: row[column] for column in COLUMNS} for row in rows))
    cells = [[escaped(cell(row[column])) for column in COLUMNS] for row in rows]
    write_file(folder.path / "steps.md", f"{header}{markdown_table(COLUMNS, cells)}\n")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{cell(row[column]):>{max(len(column), 10)}}" for column in COLUMNS)
