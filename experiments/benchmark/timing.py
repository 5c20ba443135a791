"""The time and memory of a training step of one network, and the least time that it could take."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from difflut import kernels
from difflut.layers import GroupSum, Layer
from difflut.models import LUTNetwork, build_model
from difflut.registry import LAYERS, NODES
from difflut.training import Trainer
from difflut.training.schedules import adam
from experiments.benchmark.peers import PEERS
from experiments.shared.failures import in_a_line
from experiments.shared.memory import linux_bytes, peak_memory

CLASSES = 10
SKIPPED = "skipped"  # beginning of the note of a case that was not tried


@dataclass(frozen=True)
class Case:
    """What is timed, with which back end and for how many seconds."""

    node: str
    first_layer: str
    batch: int
    threads: int
    backend: str
    input_size: int
    widths: Sequence[int]
    n: int
    top_k: int | None
    seconds: float
    device: str
    description: Mapping[str, Any] | None = None  # of a network that is built in place of those sizes


def measure(case: Case) -> dict[str, float | str | None]:
    """Times a case. On a CPU it runs in a new process, so that its peak memory is its own; on a GPU torch counts it.

    Where another library fails, for instance at its import, the result is a note and no error.
    """
    missing = _missing_memory(case)
    if missing:
        return {"note": f"{SKIPPED}: {missing}"}
    try:
        return _measure_apart(case) if case.device == "cpu" else _measure(case)
    except torch.OutOfMemoryError:
        return {"note": "out of memory"}
    except BrokenProcessPool:
        return {"note": "its process was killed, as where memory runs out"}
    except Exception as error:
        if case.backend not in PEERS:
            raise
        return {"note": f"left out: {in_a_line(error)}"}
    finally:
        torch.cuda.empty_cache()


def _measure_apart(case: Case) -> dict[str, float | str | None]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, case).result()


def floor_bytes(network: LUTNetwork, batch: int) -> float:
    """The bytes that any implementation of a step must move through memory.

    Each parameter and its two moments are read and written. The input is read as bits. Between layers, an activation is
    written, read by the next layer and read again to find its gradients, as a bit where that reads bits and as a float
    otherwise; its gradient is written and read, as a float. Wirings, tables made of the parameters, and what follows
    the last layer are not counted.
    """
    layers = [layer for layer in network.layers if isinstance(layer, Layer)]
    inputs = layers[0].in_features / 8
    between = sum(layer.out_features * (3 / 8 if reader.node.reads_bits else 12) for layer, reader in pairwise(layers))
    gradients = sum(8 * layer.out_features for layer in layers[:-1])
    return 24 * network.num_parameters + batch * (inputs + between + gradients)


@cache
def copy_bandwidth(device: str) -> float:
    """Bytes read and written in a second by a large copy."""
    source = torch.rand(2**28 if device == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _median_seconds(partial(target.copy_, source), 0.2, device)


def _missing_memory(case: Case) -> str | None:
    # The reference halves all tables for every sample, and keeps each step for the backward pass.
    table_bytes = 16 * case.batch * max(case.widths) * 2**case.n
    if (
        case.description
        or case.backend != "reference"
        or NODES[case.node].reads_bits
        or table_bytes < _free_memory(case.device)
    ):
        return None
    return f"it may need {table_bytes / 2**30:.3g} GB"


def _free_memory(device: str) -> float:
    if device != "cpu":
        return torch.cuda.mem_get_info()[0]
    return linux_bytes("/proc/meminfo", "MemAvailable:") or float("inf")


def _measure(case: Case) -> dict[str, float | str | None]:
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    graph = case.backend == "auto"
    steps = max(8, min(100 if case.device == "cuda" else 32, 2**18 // case.batch)) if graph else 1
    network = _network(case).to(case.device).train()
    inputs = network.layers[0].in_features if isinstance(network, LUTNetwork) else case.input_size
    x = torch.rand(steps * case.batch, inputs, device=case.device).round_()
    y = torch.randint(CLASSES, (len(x),), device=case.device)
    if case.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    before = peak_memory(case.device)
    with kernels.use_backend("reference" if case.backend == "reference" else "auto"):
        seconds = _median_seconds(_step(case, network, x, y, graph), case.seconds, case.device) / steps
    step_ms = 1e3 * seconds
    result: dict[str, float | str | None] = {
        "step_ms": step_ms,
        "samples_per_second": case.batch / seconds,
        "memory_mb": (peak_memory(case.device) - before) / 2**20,
        "note": None,
    }
    if isinstance(network, LUTNetwork):
        floor_ms = 1e3 * floor_bytes(network, case.batch) / copy_bandwidth(case.device)
        result |= {"floor_ms": floor_ms, "of_floor": floor_ms / step_ms}
    return result


def _step(case: Case, network: nn.Module, x: torch.Tensor, y: torch.Tensor, graph: bool) -> Callable[[], object]:
    if not isinstance(network, LUTNetwork):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
        return partial(_peer_step, network, optimizer, x, y)
    trainer = Trainer(network, x, y, batch_size=case.batch, optimizer=partial(adam, lr=0.01), graph=graph)
    return trainer.run_epoch if graph else partial(trainer.step, trainer.ranks.part(len(y)), x, y)


def _network(case: Case) -> nn.Module:
    if case.description is not None:
        return build_model(case.description)
    if case.backend in PEERS:
        return PEERS[case.backend][0](case.node, case.first_layer, case.input_size, case.widths, case.n, CLASSES)
    layers = []
    for number, (inputs, outputs) in enumerate(zip((case.input_size, *case.widths), case.widths, strict=False)):
        name = case.first_layer if number == 0 else "random"
        options = {"top_k": case.top_k} if name == "learnable" else {}
        layers.append(LAYERS[name](inputs, outputs, NODES[case.node], n=case.n, seed=number, **options))
    return LUTNetwork(None, layers, GroupSum(CLASSES, tau=10.0))


def _peer_step(network: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    loss = F.cross_entropy(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _median_seconds(run: Callable[[], object], seconds: float, device: str) -> float:
    # What one thread computes takes as much CPU time whatever other processes do.
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(3):
        run()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        _synchronize(device)
        start = clock()
        run()
        _synchronize(device)
        times.append(clock() - start)
    return statistics.median(times)


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
