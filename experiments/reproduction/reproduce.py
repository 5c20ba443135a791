"""The reproduction job: a published result over several seeds."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from difflut.circuits import Circuit
from difflut.config import ConfigurationError, parsed_config, without
from difflut.models import ensemble, load_checkpoint
from difflut.registry import register_job
from difflut.training import predict
from experiments.data import Dataset, dataset, kept_rows
from experiments.reproduction.summary import RESULT, summarized, summary_in_words
from experiments.runs import RunFolder
from experiments.shared.arguments import check_name, check_seed, check_whole, configured
from experiments.shared.costs import estimated_cost
from experiments.shared.failures import JobError, MismatchError
from experiments.shared.files import read_json, write_json
from experiments.sweep.checking import Checker
from experiments.sweep.plan import SEED, Point
from experiments.training.resuming import changed, resuming_command, tell

FREE = ("reproduce.at_once", "reproduce.runs", "tracking.")  # settings that may differ when it is continued


@register_job("reproduce")
def reproduce(
    name: str,
    paper: str,
    network: str,
    published: float | None = None,
    goal: float | None = None,
    remarks: str = "",
    seeds: Sequence[int] = (0, 1, 2),
    members: int = 1,
    mirrored: bool = False,
    at_once: int = 1,
    simplified: int = 2_000_000,
    runs: str = "runs",
    resume: str | None = None,
) -> dict[str, Any]:
    """Runs the `train` job of the same Gin file with several seeds, and compares it with what was published.

    Each seed is a process and leaves an ordinary run folder below the reproduction's. The circuit of each network must
    class all test rows as the network does.

    Args:
        name: Name of the Gin file in `gin_configs/papers`.
        paper: Publication, by authors or method.
        network: Description of what was trained.
        published: Hard test accuracy in percent; None where there is no such figure.
        goal: Accuracy to reach, in percent.
        remarks: Differences from the publication.
        seeds: One network each.
        members: Trainings for each seed, whose networks are made one (see the job `combine`): seed 1 of 4 has the
            trainings of seeds 4 to 7.
        mirrored: Whether the network of each training also votes on mirrored images (see the job `combine`).
        at_once: Trainings at the same time.
        simplified: Circuits of at most so many LUTs are simplified before their cost is counted, which takes some
            minutes for a million; larger ones are counted as trained, and the table says so.
        runs: The folder in which the reproduction gets its folder.
        resume: A reproduction's folder, to train what is missing there, as it was configured.

    Returns:
        The content of reproduction.json.

    Raises:
        ConfigurationError: There are no seeds, a seed is there twice or cannot be, nothing may run at a time, nothing
            can be trained, the networks of members could not be made one, or `resume` is of another reproduction.
        JobError: A training failed.
        MismatchError: A circuit computes something else than its network.
    """
    check_name("reproduce.name", name)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigurationError(f"reproduce.seeds must be one or more different seeds, got {list(seeds)}")
    check_whole("reproduce.at_once", at_once)
    check_whole("reproduce.members", members)
    check_whole("reproduce.simplified", simplified, least=0)
    for seed in seeds:
        check_seed("each of reproduce.seeds", seed)
        check_seed("the last training of each of reproduce.seeds", seed * members + members - 1)
    text = without(parsed_config(), "reproduce.resume")
    with kept_rows({}):
        # The networks of the other seeds differ in what is random alone.
        trained = [seeds[0] * members + member for member in range(min(members, 2))]
        _check_networks(Checker(text), trained, mirrored)
        data = dataset()
    folder = _opened(resume, text) if resume else RunFolder.create(runs, name)
    folder.write_config(text)
    print(f"{name}: seeds {', '.join(map(str, seeds))}, {folder.path}", flush=True)
    trainings: list[subprocess.Popen[bytes]] = []

    def made(seed: int) -> Path:
        trained = [_train(folder, seed * members + member, trainings) for member in range(members)]
        return _combine(folder, seed, trained, mirrored, trainings) if members > 1 or mirrored else trained[0]

    with ThreadPoolExecutor(at_once) as pool:
        try:
            results = list(pool.map(lambda seed: _check(made(seed), seed, data, simplified), seeds))
        except BaseException:  # an interruption reaches this process, and perhaps not those that it started
            pool.shutdown(wait=False, cancel_futures=True)
            for training in trainings:
                training.terminate()
            print(f"\nstopped; continue with\n{resuming_command(folder.path, 'reproduce')}", file=sys.stderr)
            raise
    description = {"name": name, "paper": paper, "network": network, "remarks": remarks}
    summary = description | {"published": published, "goal": goal, "at_once": at_once} | summarized(results)
    write_json(folder.path / RESULT, summary)
    print(summary_in_words(summary), flush=True)
    return summary


def _check_networks(checker: Checker, seeds: Sequence[int], mirrored: bool) -> None:
    """Builds the networks of trainings as they start, and makes those of several seeds one."""
    points = [{SEED: str(seed)} for seed in seeds]
    networks = [checker.network(Point(point, point)) for point in points]
    if len(networks) > 1 or mirrored:
        for seed, network in zip(seeds, networks, strict=True):
            if network.encoder is not None:
                network.encoder.fit(dataset(seed=seed).x_train)
        with configured():
            ensemble(networks, mirrored)


def _opened(path: str, text: str) -> RunFolder:
    """The folder of a reproduction that is to be continued."""
    folder, refusal = RunFolder(Path(path)), f"{path}: cannot be continued with this configuration"
    with configured():
        tell(changed(folder.config, text, FREE, refusal))
    return folder


def _train(folder: RunFolder, seed: int, started: list[subprocess.Popen[bytes]]) -> Path:
    name = f"seed_{seed}"
    settings = (
        "run.job = @train",
        f"train.seed = {seed}",
        f"train.runs = {str(folder.path)!r}",
        f'train.name = "{name}"',
    )
    return _run(folder, name, settings, started)


def _combine(
    folder: RunFolder, seed: int, trained: Sequence[Path], mirrored: bool, started: list[subprocess.Popen[bytes]]
) -> Path:
    name = f"ensemble_{seed}"
    settings = (
        "run.job = @combine",
        f"combine.members = {[str(run) for run in trained]}",
        f"combine.mirrored = {mirrored}",
        f"combine.runs = {str(folder.path)!r}",
        f'combine.name = "{name}"',
    )
    return _run(folder, name, settings, started)


def _run(folder: RunFolder, name: str, settings: Sequence[str], started: list[subprocess.Popen[bytes]]) -> Path:
    """Runs a job in a process of its own, which is added to those given; its output goes to a file.

    A run that is there already is not run again, or goes on from its last checkpoint.
    """
    for there in sorted(folder.path.glob(f"{name}-*/"), reverse=True):
        if (there / "result.json").exists():
            return there
        if (there / "last.pt").exists():
            settings = (*settings, f"train.resume = {str(there)!r}")
            break
    command = [sys.executable, "-m", "difflut.command", "--gin_file", str(folder.path / "config.gin")]
    command += [part for setting in settings for part in ("--gin_param", setting)]
    log = folder.path / f"{name}.log"
    with log.open("w", encoding="utf-8") as file:
        job = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        started.append(job)
        code = job.wait()
    lines = log.read_text(encoding="utf-8").splitlines()
    if code:
        reason = next((line for line in reversed(lines) if line[:1].strip()), "")  # Gin adds indented lines below it
        raise JobError(f"{name} failed with exit status {code}: {reason}; all of its output: {log}")
    print(f"{name}: {next(line for line in reversed(lines) if line.startswith('test, '))}", flush=True)
    return max(run for run in folder.path.glob(f"{name}-*/") if (run / "result.json").exists())


def _check(run: Path, seed: int, data: Dataset, simplified: int) -> dict[str, Any]:
    """Compares a run's circuit with its network and its reported accuracy; returns its result with the present cost."""
    result = read_json(run / "result.json") | {"seed": seed}
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
    return result | estimated_cost(circuit, data.x_test, simplified) | {"circuit_rows": len(classes)}
