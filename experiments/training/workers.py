"""One training by several workers of a Ray cluster, on Ray Train."""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from difflut import config
from difflut.config import ConfigurationError
from difflut.training import DivergedError
from difflut.training.ranks import Ranks
from experiments.cluster.courier import open_office, trial_folder
from experiments.cluster.joining import connected
from experiments.data import Rows, kept_rows
from experiments.runs import RunFolder, TrialRun
from experiments.shared.arguments import check_effect, check_whole
from experiments.shared.failures import JobError, in_a_line
from experiments.shared.files import write_file
from experiments.training.group import LONG

RESTARTS = 3  # of all workers, from the last checkpoint, after one of them died


@dataclass(frozen=True)
class Work:
    """What the workers are to do.

    Attributes:
        folder: The run's, as an absolute path of the machine that started it.
        text: The configuration.
        data: References to the rows of data sets in Ray's object store, by name.
        office: The actor that carries files to the run's folder; None on a single machine.
    """

    folder: Path
    text: str
    data: Mapping[str, Any]
    office: Any


def check_workers(workers: int | None, devices: int | str) -> None:
    """Checks how many workers are wanted, and that nothing else says on how many devices.

    Raises:
        ConfigurationError: It is no number of workers, or `train.devices` is given beside it.
    """
    if workers is not None:
        check_whole("train.workers", workers)
        check_effect("train", {"devices": devices}, "beside train.workers, each of which is one device")


def run_on_cluster(workers: int, device: str, run: RunFolder, rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Trains what the configuration says by so many workers of a Ray cluster, or of this machine.

    The cluster is that at `RAY_ADDRESS`. Each worker has a GPU where there are GPUs and `device` is not "cpu". When one
    dies all start again from the last checkpoint.

    Returns:
        The content of the run's result.json.

    Raises:
        ConfigurationError: There is no such cluster, or it has not so many CPUs or GPUs.
        JobError: The training diverged, or workers died again and again.
    """
    run = RunFolder(run.path.resolve())
    reason = run.path / "error.txt"
    reason.unlink(missing_ok=True)  # of an earlier attempt
    with connected(None), tempfile.TemporaryDirectory(prefix="difflut-train-") as own, _shown(run.path / "output.txt"):
        import ray
        from ray import train
        from ray.train.torch import TorchConfig, TorchTrainer

        there = ray.cluster_resources()
        kind = "GPU" if device != "cpu" and there.get("GPU") else "CPU"
        if workers > there.get(kind, 0):
            raise ConfigurationError(f"train.workers = {workers}, and the cluster has {there.get(kind, 0):g} {kind}s")
        office = open_office(run.path.parent) if len(ray.nodes()) > 1 else None
        work = Work(run.path, config.parsed_config(), {name: ray.put(array) for name, array in rows.items()}, office)
        trainer = TorchTrainer(
            _work,
            train_loop_config={"work": work},
            torch_config=TorchConfig("nccl" if kind == "GPU" else "gloo", timeout_s=int(LONG.total_seconds())),
            scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=kind == "GPU"),
            run_config=train.RunConfig(
                name="train", storage_path=own, failure_config=train.FailureConfig(max_failures=RESTARTS)
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray has one of its own for each thing that can be wrong
            causes = getattr(error, "worker_failures", None) or {0: error}
            told = "; ".join(dict.fromkeys(map(in_a_line, causes.values())))
            raise JobError(f"{run.path}: the workers failed {RESTARTS + 1} times, at last by {told}") from error
    if reason.exists():
        raise JobError(f"{run.path}: {reason.read_text(encoding='utf-8')}")
    return run.result()


def _work(given: Mapping[str, Any]) -> None:
    """What each worker does, again after a restart."""
    import experiments  # noqa: F401, so that every name is known

    work: Work = given["work"]
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    ranks = Ranks.present()
    with ExitStack() as stack:
        folder, send = RunFolder(work.folder), _do_nothing
        if ranks.is_first:
            path, send = stack.enter_context(
                trial_folder(work.folder.parent, work.folder.name, work.folder, work.office)
            )
            folder = RunFolder(path)
            output = stack.enter_context((path / "output.txt").open("a", buffering=1, encoding="utf-8"))
            stack.enter_context(redirect_stdout(output))
        begun = ranks.from_first(lambda: str(folder.path) if folder.last.exists() else None)
        try:
            with ranks.united():  # the machine of one may lack a module, or a file
                stack.enter_context(kept_rows(_fetched(work.data)))
                config.parse([], text=work.text)
            config.run(trial=TrialRun(folder, report=lambda row: send()), **({"resume": begun} if begun else {}))
        except (ConfigurationError, DivergedError) as error:  # which another attempt would not change
            if ranks.is_first:
                write_file(folder.path / "error.txt", in_a_line(error))


def _fetched(data: Mapping[str, Any]) -> dict[str, Rows]:
    """The rows of data sets, given references to them."""
    import ray

    try:
        return dict(zip(data, ray.get(list(data.values())), strict=True))
    except ray.exceptions.RaySystemError as error:  # which tells in its first line why they cannot be had here
        raise ConfigurationError(in_a_line(error).partition("System error: ")[2]) from error


def _do_nothing() -> None:
    """In the place of sending files, where there are none."""


@contextmanager
def _shown(path: Path) -> Iterator[None]:
    """Prints what the first worker writes to a file."""
    ended = threading.Event()
    thread = threading.Thread(
        target=_follow, args=(path, path.stat().st_size if path.exists() else 0, ended), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(path: Path, position: int, ended: threading.Event) -> None:
    is_last = False
    while not is_last:
        is_last = ended.wait(0.2)
        if path.exists():
            with path.open(encoding="utf-8") as file:
                file.seek(position)
                print(file.read(), end="", flush=True)
                position = file.tell()
