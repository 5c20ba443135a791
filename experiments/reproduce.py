"""The reproduction job: a published result over several seeds."""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from difflut.circuits import Circuit
from difflut.config import ConfigurationError, parsed_config
from difflut.models import load_checkpoint
from difflut.registry import register_job
from difflut.training import predict
from experiments.arguments import check_seed
from experiments.costs import PARTS, in_words
from experiments.data import Dataset, dataset
from experiments.failures import JobError, MismatchError
from experiments.runs import RunFolder
from experiments.sweep.checking import Checker
from experiments.sweep.plan import SEED, Point

RESULT = "reproduction.json"


@register_job("reproduce")
def reproduce(
    name: str,
    paper: str,
    network: str,
    published: float | None = None,
    goal: float | None = None,
    remarks: str = "",
    seeds: Sequence[int] = (0, 1, 2),
    at_once: int = 1,
    runs: str = "runs",
) -> dict[str, Any]:
    """Runs the `train` job of the same Gin file with several seeds, and compares it with what was published.

    Each seed is a process and leaves an ordinary run folder below the reproduction's. The circuit of each network must
    class all test rows as the network does.

    Args:
        name: Of the Gin file in `gin_configs/papers`.
        paper: Who published it.
        network: What was trained, in words.
        published: Hard test accuracy in percent; None where there is no such figure.
        goal: Accuracy to reach, in percent.
        remarks: What differs from the publication.
        seeds: One training each.
        at_once: Trainings at the same time.
        runs: The folder in which the reproduction gets its folder.

    Returns:
        The content of reproduction.json.

    Raises:
        ConfigurationError: There are no seeds, a seed is there twice or cannot be, nothing may run at a time, or
            nothing can be trained.
        JobError: A training failed.
        MismatchError: A circuit computes something else than its network.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigurationError(f"reproduce.seeds must be one or more different seeds, got {list(seeds)}")
    if at_once < 1:
        raise ConfigurationError(f"reproduce.at_once must be 1 or more, got {at_once}")
    for seed in seeds:
        check_seed("each of reproduce.seeds", seed)
    text, first = parsed_config(), {SEED: str(seeds[0])}
    Checker(text).size(Point(first, first))  # the networks of the other seeds differ in what is random alone
    data = dataset()
    folder = RunFolder.create(runs, name)
    folder.write_config(text)
    print(f"{name}: seeds {', '.join(map(str, seeds))}, {folder.path}", flush=True)
    trainings: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(at_once) as pool:
        try:
            results = list(pool.map(lambda seed: _check(_train(folder, seed, trainings), data), seeds))
        except BaseException:  # an interruption reaches this process, and perhaps not those that it started
            pool.shutdown(wait=False, cancel_futures=True)
            for training in trainings:
                training.terminate()
            raise
    given = {"name": name, "paper": paper, "network": network, "remarks": remarks}
    summary = given | {"published": published, "goal": goal, "at_once": at_once} | _summary(results)
    (folder.path / RESULT).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(_in_words(summary), flush=True)
    return summary


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the sample's standard deviation, 0 for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _train(folder: RunFolder, seed: int, trainings: list[subprocess.Popen[bytes]]) -> Path:
    """Trains one seed in a process of its own, which is added to those given; its output goes to a file."""
    name = f"seed_{seed}"
    settings = (
        "run.job = @train",
        f"train.seed = {seed}",
        f"train.runs = {str(folder.path)!r}",
        f'train.name = "{name}"',
    )
    command = [sys.executable, "-m", "difflut.command", "--gin_file", str(folder.path / "config.gin")]
    command += [part for setting in settings for part in ("--gin_param", setting)]
    log = folder.path / f"{name}.log"
    with log.open("w", encoding="utf-8") as file:
        training = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        trainings.append(training)
        code = training.wait()
    lines = log.read_text(encoding="utf-8").splitlines()
    if code:
        reason = next((line for line in reversed(lines) if line[:1].strip()), "")  # Gin adds indented lines below it
        raise JobError(f"seed {seed} failed with exit status {code}: {reason}; all of its output: {log}")
    print(f"seed {seed}: {next(line for line in reversed(lines) if line.startswith('test, '))}", flush=True)
    (run,) = folder.path.glob(f"{name}-*/")
    return run


def _check(run: Path, data: Dataset) -> dict[str, Any]:
    """Compares a run's circuit with its network and its reported accuracy; returns its result."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    model = load_checkpoint(run / "best.pt")
    circuit = Circuit.from_model(model)
    classes, expected = circuit.classes(data.x_test.numpy()), predict(model, data.x_test).numpy()
    different = int((classes != expected).sum())
    accuracy = float(np.mean(classes == data.y_test.numpy()))
    print(f"seed {result['seed']}: circuit {accuracy:.2%}, {different} of {len(classes)} rows differ", flush=True)
    if different or accuracy != result["test_accuracy_hard"]:
        raise MismatchError(
            f"{run}: the circuit differs from the network in {different} of {len(classes)} test rows and has "
            f"{accuracy:.4%} right; the run reported {result['test_accuracy_hard']:.4%}"
        )
    return result | {"circuit_rows": len(classes)}


def _summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = results[0]
    return {
        **{key: first[key] for key in ("dataset", "epochs", "tables")},
        "seeds": [result["seed"] for result in results],
        "hard": [100 * result["test_accuracy_hard"] for result in results],
        "gap": [100 * result["gap"] for result in results],
        **{key: [result[key] for result in results] for key in ("luts", *PARTS)},
        "circuit_rows": [result["circuit_rows"] for result in results],
        "seconds": [result["train_seconds"] for result in results],
        "device": ", ".join(sorted({result["device"] for result in results})),
    }


def mean_cost(summary: Mapping[str, Any]) -> dict[str, int]:
    """The cost of a reproduction's networks, as in a result.json: the mean over seeds."""
    return {key: round(statistics.fmean(summary[key])) for key in ("luts", *PARTS)}


def _in_words(summary: dict[str, Any]) -> str:
    mean, deviation = mean_and_deviation(summary["hard"])
    parts = [f"measured {mean:.2f} ± {deviation:.2f} % ({len(summary['seeds'])} seeds)"]
    if summary["published"] is not None:
        parts += [f"published {summary['published']:.2f} %", f"difference {mean - summary['published']:+.2f}"]
    if summary["goal"] is not None:
        parts.append(f"goal {summary['goal']:.2f} % {'reached' if mean >= summary['goal'] else 'missed'}")
    parts += [f"gap {statistics.fmean(summary['gap']):+.2f}", in_words(mean_cost(summary))]
    parts.append(f"{statistics.fmean(summary['seconds']):.0f} s a seed on {summary['device']}")
    return f"{summary['name']}: {', '.join(parts)}"
