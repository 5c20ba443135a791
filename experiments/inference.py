"""The inference job: images a second of each back end of a hard network, inputs to classes, and their agreement."""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut.circuits import Circuit, CompiledCircuit, simplify, write_c
from difflut.circuits.engine import cpu
from difflut.circuits.engine.cpu import CpuEngine
from difflut.config import job
from difflut.models import LUTNetwork, load_checkpoint
from experiments.data import load_dataset
from experiments.names import check_names
from experiments.runs import RunFolder

FEATURES, CLASSES = 784, 10
BACKENDS = ("model", "numpy", "c", "interpreter", "engine", "threads", "cuda")
COLUMNS = ("network", "luts", "back end", "ready s", "images/s", "median", "compared", "mismatches")
FEW = 512  # samples for back ends that need milliseconds for each
Classify = Callable[[Any], np.ndarray | torch.Tensor]


@job
def inference(
    networks: Sequence[str] = ("gates", "luts"),
    backends: Sequence[str] = BACKENDS,
    lut_size: int | None = 3,
    samples: int = 10000,
    compared: int = 10000,
    seconds: float = 2.0,
    runs: str = "runs",
) -> list[dict[str, Any]]:
    """Measures back ends on one CPU core unless said otherwise; writes a Markdown table.

    Images a second are at the best and at the median of what fits into `seconds`, arrays of bytes in, classes out; on a
    GPU from memory of the GPU to there. "ready" is the time to make a back end from the circuit: to compile it, too.

    Args:
        networks: "gates" is 784 bits to 6 x 8000 random gates of two inputs, each a true function of both; "luts" 784 x
            3 bits to 2000 + 1000 random tables of six inputs; all else is a run folder, or a circuit's .npz file.
        backends: "model" is the torch module, for run folders; "interpreter" the CPU engine without machine code,
            "threads" that with it on all cores.
        lut_size: To which circuits are simplified first, which is not in the time; None leaves them as they are. The
            engines combine three inputs in an instruction.
        samples: Of random bytes, or of a run's test set at most.
        compared: Samples whose classes are compared with the circuit's in numpy.
        seconds: Time for each figure.
        runs: The folder of run folders.

    Returns:
        The rows of the table.

    Raises:
        ConfigurationError: There is no such back end.
        FileNotFoundError: A network is missing.
    """
    check_names("inference.backends", backends, BACKENDS)
    loaded = [_load(name, samples) for name in networks]
    folder, rows = RunFolder.create(runs, "inference"), []
    print(_line(COLUMNS))
    for name, (circuit, model, x) in zip(networks, loaded, strict=True):
        small = simplify(circuit, lut_size)[0] if lut_size else circuit
        expected = circuit.classes(x[:compared])
        for backend, make in _backends(small, model, folder.path, backends):
            start = time.perf_counter()
            try:
                classify, given = make(x if backend not in ("model", "numpy") else x[:FEW])
            except (FileNotFoundError, RuntimeError) as error:
                print(f"{backend}: left out: {error}")
                continue
            ready = time.perf_counter() - start
            found = torch.as_tensor(classify(given)[:compared]).cpu().numpy()
            times = _times(partial(classify, given), seconds)
            best, median = (len(given) / of(times) for of in (min, statistics.median))
            wrong = int((found != expected[: len(found)]).sum())
            network = Path(name).stem if os.sep in name else name
            row = (network, small.num_luts, backend, ready, best, median, len(found), wrong)
            rows.append(dict(zip(COLUMNS, row, strict=True)))
            print(_line(row), flush=True)
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.values() for row in rows)]
    (folder.path / "inference.md").write_text("".join(f"| {' | '.join(map(_text, line))} |\n" for line in lines))
    print(f"table: {folder.path}")
    return rows


def _load(name: str, samples: int) -> tuple[Circuit, LUTNetwork | None, np.ndarray]:
    """The circuit, the module where there is one, and inputs."""
    rng = np.random.default_rng(0)
    if name == "gates":
        return _random(rng, 1, [8000] * 6, 2, samples)
    if name == "luts":
        return _random(rng, 3, [2000, 1000], 6, samples)
    if name.endswith(".npz"):
        circuit = Circuit.load(name)
        return circuit, None, rng.integers(256, size=(samples, circuit.num_features), dtype=np.uint8)
    run = RunFolder.open_finished(name)
    result = json.loads((run.path / "result.json").read_text())
    model = load_checkpoint(run.best).eval()
    x = load_dataset(result["dataset"], seed=result["seed"]).x_test.numpy()[:samples]
    return Circuit.from_model(model), model, x


def _random(
    rng: np.random.Generator, bits: int, widths: Sequence[int], n: int, samples: int
) -> tuple[Circuit, None, np.ndarray]:
    """Each layer reads all of the one before it, as often as it can."""
    wiring, first, width = [], 0, FEATURES * bits
    for nodes in widths:
        reads = [rng.permutation(width) for _ in range(-(-nodes * n // width))]
        wiring.append(first + np.concatenate(reads)[: nodes * n].reshape(n, nodes).T)
        first, width = first + width, nodes
    tables = rng.random((sum(widths), 2**n)) < 0.5
    if n == 2:
        both = np.array([[t >> a & 1 for a in range(4)] for t in (1, 2, 4, 6, 7, 8, 9, 11, 13, 14)], bool)
        tables = both[rng.integers(len(both), size=sum(widths))]
    thresholds = np.sort(np.stack([rng.permutation(255)[:bits] for _ in range(FEATURES)]), axis=1).astype(np.float32)
    outputs, layers = np.arange(first, first + width), np.repeat(np.arange(len(widths)), widths)
    circuit = Circuit(
        thresholds,
        codebook=np.tri(bits + 1, bits, -1, dtype=bool),
        wiring=np.concatenate(wiring),
        tables=tables,
        layers=layers,
        outputs=outputs,
        inverted=np.zeros(width, bool),
        groups=np.arange(width) * CLASSES // width,
        bias=np.zeros(CLASSES, int),
        tau=1.0,
    )
    return circuit, None, rng.integers(256, size=(samples, FEATURES), dtype=np.uint8)


def _backends(
    circuit: Circuit, model: LUTNetwork | None, folder: Path, wanted: Sequence[str]
) -> Iterator[tuple[str, Callable[[np.ndarray], tuple[Classify, Any]]]]:
    """Names, and functions that make a back end and the inputs that it takes."""

    def compiled(x: np.ndarray) -> tuple[Classify, np.ndarray]:
        made = CompiledCircuit(write_c(circuit, folder / "circuit.c"), circuit.num_features, circuit.num_classes)
        return lambda given: made.counts_and_classes(given)[1], x

    def on_gpu(x: np.ndarray) -> tuple[Classify, torch.Tensor]:
        engine = circuit.engine("cuda")
        given = torch.from_numpy(x).cuda().repeat(-(-(2**20) // len(x)), *[1] * (x.ndim - 1))

        def classify(given: torch.Tensor) -> torch.Tensor:
            classes = engine.classes(given)
            torch.cuda.synchronize()
            return classes

        return classify, given

    made: dict[str, Callable[[np.ndarray], tuple[Classify, Any]]] = {
        "numpy": lambda x: (circuit.classes, x),
        "c": compiled,
        "engine": lambda x: (circuit.engine(threads=1).classes, x),
        "threads": lambda x: (circuit.engine().classes, x),
    }
    if model is not None:
        made["model"] = lambda x: (partial(_evaluate, model), x)
    if cpu.available():
        made["interpreter"] = lambda x: (CpuEngine(circuit, 1, assemble=False).classes, x)
    if torch.cuda.is_available():
        made["cuda"] = on_gpu
    yield from ((name, made[name]) for name in wanted if name in made)


@torch.no_grad()
def _evaluate(model: LUTNetwork, x: np.ndarray) -> np.ndarray:
    return model(torch.from_numpy(x)).argmax(1).numpy()


def _times(run: Callable[[], Any], seconds: float) -> list[float]:
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def _line(values: Sequence[Any]) -> str:
    return "  ".join(f"{_text(value):>12}" for value in values)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    return str(value)
