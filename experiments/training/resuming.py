"""Going on with a run that stopped, or that is to become longer."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from shutil import which
from typing import Any

from difflut.config import differences, operative_config, without
from difflut.models import describe, read_checkpoint
from difflut.training import Trainer
from experiments.runs import RunFolder

# Settings that may differ when a run is continued. None decides what an epoch computes, but `train.epochs` by way of
# the schedule.
FREE = (
    "train.epochs",
    "train.device",
    "train.devices",
    "train.workers",
    "train.graph",
    "train.checkpoint_seconds",
    "train.upload_checkpoint",
    "train.count_luts",
    "train.runs",
    "train.name",
    "dataset.cache_dir",
    "tracking.",
)

# Environment variables by which a command finds its data and its cluster; they may have been set for that one alone.
SETTINGS = ("DIFFLUT_DATA", "RAY_ADDRESS")


def proceed(trainer: Trainer, folder: RunFolder, epochs: int) -> None:
    """Puts a trainer where the folder's run stopped, and says what is different from now on.

    Args:
        epochs: Epochs of the whole run.

    Raises:
        CheckpointError: The last checkpoint is damaged.
        ValueError: The run trained another network, in another way, or for more epochs already.
    """
    text, ranks = without(operative_config(), "train.resume"), trainer.ranks
    refusal = f"{folder.path}: cannot be continued with this configuration"

    def read() -> tuple[Any, dict[str, tuple[Any, Any]], int]:
        rows = folder.metrics()
        if not all("cpu_seconds" in row for row in rows):
            raise ValueError(f"{refusal}: its epochs do not say what they took; train anew, or with its own version")
        return read_checkpoint(folder.last), changed(folder.config, text, FREE, refusal), len(rows)

    checkpoint, changes, measured = ranks.from_first(read)
    if difference := _first_difference(describe(trainer.model), checkpoint["config"]):
        raise ValueError(f"{refusal}: {difference}")
    trainer.model.load_state_dict(checkpoint["state"])
    trainer.load_state_dict(checkpoint["training"])
    # Without checkpoints after each epoch the run, and its best network, may be further than the last one.
    if epochs < (done := max(trainer.epoch, measured)):
        raise ValueError(f"{folder.path}: has {done} epochs already, more than train.epochs = {epochs}")
    if not ranks.is_first:
        return
    folder.forget_after(trainer.epoch)
    if trainer.epoch < epochs:
        folder.forget_result()
    if changes:
        folder.write_config(text)
        tell(changes)


def changed(then: str, now: str, free: tuple[str, ...], refusal: str) -> dict[str, tuple[Any, Any]]:
    """What differs between two configurations, by name: the values before and after.

    Args:
        free: Names that may differ, or beginnings of them.
        refusal: Beginning of the error.

    Raises:
        ValueError: Something else does.
    """
    if not now.strip():  # where jobs are called from Python, nothing is bound
        return {}
    found = {name: values for name, values in differences(then, now).items() if not name.endswith(".resume")}
    # Choices come before their settings, since another optimizer has other settings too.
    for name in sorted(found, key=lambda name: not name.startswith("train.")):
        before, after = found[name]
        if not name.startswith(free):
            raise ValueError(f"{refusal}: {name} is {after!r}, the run has {before!r}")
    return found


def tell(changes: Mapping[str, tuple[Any, Any]]) -> None:
    """Prints a line for each change."""
    for name, (before, after) in changes.items():
        print(f"continued with {name} = {after!r} instead of {before!r}", flush=True)


def resuming_command(path: Path | str, job: str) -> str:
    """The command that goes on with the run or sweep in a folder, for the shell in which this one was called."""
    binding = f"{job}.resume = {json.dumps(str(path))}"
    return f"{_present_command()} --gin_file {quote(f'{path}/config.gin')} --gin_param {quote(binding)}"


def _present_command() -> str:
    """How this process was called, without its options; the module of the command where it was by another program."""
    program = Path(sys.argv[0])
    python = "python" if which("python") == sys.executable else quote(sys.executable)
    if program.name == "run.py":
        command = f"{python} {quote(str(program))}"
    elif program.name == "difflut":
        command = "difflut" if which("difflut") == str(program) else quote(str(program))
    else:
        command = f"{python} -m difflut.command"
    settings = [f"{name}={quote(os.environ[name])} " for name in SETTINGS if name in os.environ]
    return "".join(settings) + command


def _first_difference(now: Any, then: Any, path: str = "network") -> str | None:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        pairs = ((f"{path}.{key}", now.get(key), then.get(key)) for key in {**now, **then})
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = ((f"{path}[{i}]", *pair) for i, pair in enumerate(zip(now, then, strict=True)))
    else:
        return None if now == then else f"{path} is {now}, the run has {then}"
    return next(filter(None, (_first_difference(a, b, where) for where, a, b in pairs)), None)
