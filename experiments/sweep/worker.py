"""One trial, in the process that Ray gives it."""

import contextlib
import json
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from difflut import config
from difflut.training import DivergedError
from experiments.cluster.courier import trial_folder
from experiments.data import kept_rows
from experiments.runs import RunFolder, TrialRun, tracking_key
from experiments.shared.failures import in_a_line
from experiments.shared.files import locked, write_file
from experiments.sweep.checking import trial_config
from experiments.sweep.objectives import measures

OUTCOME = "outcome"


class TrialError(RuntimeError):
    """What stopped a trial, in words; unlike errors that pass through Gin, it can be pickled."""


@dataclass(frozen=True)
class Work:
    """What all trials of a sweep have in common.

    Attributes:
        folder: The sweep's, as an absolute path.
        group: The trials' in Weights & Biases.
        text: Its Gin text.
        threads: CPU threads of a trial.
        gpus: Of a trial, which may be a fraction; of several each trains a part of every batch.
        data: References to the rows of data sets in Ray's object store, by name.
        office: The actor that carries files of trials to the sweep's folder; None on a single machine.
    """

    folder: Path
    group: str
    text: str
    threads: int
    gpus: float
    data: Mapping[str, Any]
    office: Any = None


def run_trial(parameters: Mapping[str, Any], work: Work) -> None:
    """Trains the trial in `parameters["trial"]`, JSON of `parameters_of`, and reports each epoch to Tune.

    The last report holds the measures of the run and "finished" under `OUTCOME`, or the reason why trying again is of
    no use.
    """
    from ray import get, tune

    trial = json.loads(parameters["trial"])
    facts = {"started": time.time(), "node": _node(), "pid": os.getpid(), "epochs": trial["epochs"]}
    torch.set_num_threads(work.threads)
    data = dict(zip(work.data, get(list(work.data.values())), strict=True))
    with trial_folder(work.folder / "trials", trial["id"], work.folder / "sweep.json", work.office) as (path, send):
        folder = RunFolder(path)

        def report(row: Mapping[str, float]) -> None:
            facts.setdefault("first_step", time.time() - row["seconds"])
            send()
            tune.report({**row, **facts})

        with _alone_in(folder), kept_rows(data), _output_to(path / "output.txt"):
            result = _train(trial, folder, work, report)
        measured = measures(folder, result)
    tune.report({**measured, **facts, OUTCOME: result.get(OUTCOME, "finished")})


def _train(trial: Mapping[str, Any], folder: RunFolder, work: Work, report: Any) -> dict[str, Any]:
    values = {tracking_key(label): _plain(value) for label, value in trial["values"].items()}
    begun = folder.last.exists()
    try:
        config.parse([], text=trial_config(work.text, trial["bindings"]))
        return config.run(
            trial=TrialRun(None if begun else folder, _tracking(work.group, trial["id"], values), values, report),
            **({"resume": str(folder.path)} if begun else {}),
            **({"devices": int(work.gpus)} if work.gpus > 1 else {}),
        )
    except Exception as error:
        reason = _reason(error)
        write_file(folder.path / "error.txt", f"{reason}\n\n{traceback.format_exc()}")
        if isinstance(error, DivergedError):
            # Another attempt would give the same numbers.
            return {OUTCOME: reason}
        raise TrialError(reason) from None


def _tracking(group: str, id: str, values: Mapping[str, str | float]) -> dict[str, Any]:
    """How a trial is tracked: as the configuration says, and where it says nothing, as a trial of its sweep."""
    tracking_options = config.bound([f"tracking.{name}" for name in ("job_type", "tags", "name")])
    return {
        "group": group,
        "job_type": tracking_options.get("tracking.job_type") or os.environ.get("WANDB_JOB_TYPE") or "trial",
        "tags": [*tracking_options.get("tracking.tags", ()), *(f"{label}={value}" for label, value in values.items())],
        "name": f"{tracking_options.get('tracking.name') or group}/{id}",
    }


def _plain(text: str) -> str | float:
    """A value as W&B should have it: it orders numbers along an axis, and text as categories."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else ''}"
    return in_a_line(error)


def _node() -> str:
    import ray

    return f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:8]}"


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    with path.open("a", buffering=1, encoding="utf-8") as output, contextlib.redirect_stdout(output):
        yield


@contextlib.contextmanager
def _alone_in(folder: RunFolder) -> Iterator[None]:
    """Waits until no other process trains in a folder: that of a killed sweep may live on for a moment."""
    with locked(folder.path / ".lock"):
        yield
