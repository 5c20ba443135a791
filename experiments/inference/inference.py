"""The inference job: images a second of each back end of a hard network, inputs to classes, and their agreement."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut.circuits import simplify
from difflut.registry import register_job
from experiments.inference.back_ends import BACK_ENDS, Candidate, serves
from experiments.inference.networks import Loaded, load_network
from experiments.runs import RunFolder
from experiments.shared.arguments import check_lut_size, check_names, check_seconds, check_some, check_whole, configured
from experiments.shared.failures import JobError, MismatchError, in_a_line
from experiments.shared.files import write_file
from experiments.shared.tables import cell, markdown_table

GPU_INPUTS = 2  # inputs of a table that the engine of a GPU evaluates in one instruction
COLUMNS = ("network", "luts", "back end", "ready s", "images/s", "median", "compared", "mismatches")


@register_job("inference")
def inference(
    networks: Sequence[str] = ("gates", "luts"),
    backends: Sequence[str] = tuple(BACK_ENDS),
    lut_size: int | None = 3,
    samples: int = 10000,
    compared: int = 10000,
    seconds: float = 2.0,
    runs: str = "runs",
) -> list[dict[str, Any]]:
    """Measures back ends on one CPU core unless said otherwise; writes a Markdown table.

    Images a second are those of the best and of the median call of all that fit into `seconds`. Calls go from arrays of
    bytes to classes, on a GPU both in its memory. "ready" is the time to make a back end from the circuit, compilation
    included.

    Args:
        networks: "gates" is 784 bits to 6 x 8000 random gates of two inputs, each a true function of both; "luts" 784 x
            3 bits to 2000 + 1000 random tables of six inputs; "convolution" the network of `cifar10_conv.gin`, its
            tables and wiring random; all else is a run folder, or a circuit's .npz file.
        backends: "model" is the torch module, for run folders; "interpreter" the CPU engine without machine code,
            "threads" that with it on all cores.
        lut_size: Inputs of a LUT to which circuits are simplified first, which is not in the time; None leaves them as
            they are. The CPU engine combines three inputs in an instruction; a GPU's two, so that it is given two-input
            LUTs at most.
        samples: Number of samples: of random bytes, or of a run's test set at most.
        compared: Samples whose classes are compared with the circuit's in numpy.
        seconds: Time for each figure.
        runs: The folder of run folders.

    Returns:
        The rows of the table.

    Raises:
        ConfigurationError: There is no such back end, a network is missing, or a number cannot be.
        MismatchError: A back end found another class; raised when the table is written.
        JobError: A back end failed; raised then, too.
    """
    check_some("inference.networks", networks)
    check_some("inference.backends", backends)
    check_names("inference.backends", backends, BACK_ENDS)
    check_whole("inference.samples", samples)
    check_whole("inference.compared", compared)
    check_seconds("inference.seconds", seconds)
    if lut_size is not None:
        check_lut_size("inference.lut_size", lut_size)
    with configured():
        loaded = [load_network(name, samples) for name in networks]
    folder, rows = RunFolder.create(runs, "inference").path, []
    failed: list[str] = []
    table = folder / "inference.md"
    print(_line(COLUMNS))
    for name, network in zip(networks, loaded, strict=True):
        for values in _measured(network, folder, backends, lut_size, compared, seconds, failed):
            rows.append(dict(zip(COLUMNS, (Path(name).stem if os.sep in name else name, *values), strict=True)))
            print(_line(list(rows[-1].values())), flush=True)
            write_file(table, markdown_table(COLUMNS, (map(cell, row.values()) for row in rows)) + "\n")
    print(f"table: {folder}")
    if wrong := [f"{row['back end']} of {row['network']}" for row in rows if row["mismatches"]]:
        raise MismatchError(f"other classes than the circuit in numpy: {', '.join(wrong)}; {table}")
    if failed:
        raise JobError(f"{table} has all but {'; '.join(failed)}; mend that, or leave them out of inference.backends")
    return rows


def _measured(
    network: Loaded,
    folder: Path,
    backends: Sequence[str],
    lut_size: int | None,
    compared: int,
    seconds: float,
    failed: list[str],
) -> Iterator[tuple[Any, ...]]:
    """The cells of the table for each back end, behind the name of the network; what fails is added to a list."""
    circuit, model, x = network
    expected = circuit.classes(x[:compared])
    simplified = cache(lambda size: simplify(circuit, size)[0] if size else circuit)
    for backend in backends:
        inputs = min(lut_size, GPU_INPUTS) if lut_size and backend == "cuda" else lut_size
        candidate = Candidate(simplified(inputs), model, folder)
        if not serves(backend, candidate):
            continue
        try:
            yield candidate.circuit.num_luts, backend, *_measure(backend, candidate, x, expected, seconds)
        except FileNotFoundError as error:
            print(f"{backend}: left out: {error}")
        except RuntimeError as error:
            print(f"{backend}: failed: {error}")
            failed.append(f"{backend} ({in_a_line(error)})")


def _measure(
    backend: str, candidate: Candidate, x: np.ndarray, expected: np.ndarray, seconds: float
) -> tuple[float, float, float, int, int]:
    """Seconds until it is ready, samples a second at best and at the median, samples compared and mismatches."""
    start = time.perf_counter()
    classify, inputs = BACK_ENDS[backend](candidate, x)
    ready = time.perf_counter() - start
    classes = torch.as_tensor(classify(inputs)[: len(expected)]).cpu().numpy()
    times = _times(partial(classify, inputs), seconds)
    best, median = (len(inputs) / of(times) for of in (min, statistics.median))
    return ready, best, median, len(classes), int(np.count_nonzero(classes != expected[: len(classes)]))


def _times(run: Callable[[], Any], seconds: float) -> list[float]:
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def _line(values: Sequence[Any]) -> str:
    return "  ".join(f"{cell(value):>12}" for value in values)
