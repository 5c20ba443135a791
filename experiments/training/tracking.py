"""Tracking of runs with Weights & Biases.

Training never fails for the sake of tracking: whatever goes wrong here becomes one printed line.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from difflut.config import ConfigurationError
from experiments.shared.arguments import check_names
from experiments.shared.failures import in_a_line

MODES = ("disabled", "offline", "online")
ALIASES = {"dryrun": "offline", "run": "online"}  # earlier names in W&B


class Tracker:
    """One tracked run; as a context manager it is finished at the end, and marked as failed after an exception.

    Args:
        run: The W&B run; None tracks nothing.
        farewell: Function that gives a line to print at the end.
    """

    def __init__(self, run: Any | None = None, farewell: Callable[[], str] | None = None) -> None:
        self._run = run
        self._farewell = farewell
        self._step: int | None = None
        self._failures: set[str] = set()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Records metrics under their names as given. Steps must not go down."""
        self._step = step
        with self._tolerant("log") as run:
            if run:
                run.log(dict(metrics), step=step)

    def log_image(self, name: str, path: str | Path) -> None:
        """Records a picture at the step last logged."""
        with self._tolerant("log_image") as run:
            if run:
                import wandb

                run.log({name: wandb.Image(str(path))}, step=self._step)

    def log_artifact(self, path: str | Path, name: str, type: str) -> None:
        """Records a file or folder. It is not copied: an offline run uploads it, as it then is, when it is synced."""
        with self._tolerant("log_artifact") as run:
            if run:
                import wandb

                artifact = wandb.Artifact(name, type=type)
                add = artifact.add_dir if Path(path).is_dir() else artifact.add_file
                add(str(path), policy="immutable", skip_cache=True)
                run.log_artifact(artifact)

    def finish(self, summary: Mapping[str, Any] | None = None, failed: bool = False) -> None:
        """Records the final results and closes the run; a second call does nothing."""
        with self._tolerant("finish") as run:
            if run:
                run.summary.update(dict(summary or {}))
                self._run = None
                run.finish(exit_code=int(failed))
                if self._farewell:
                    _say(self._farewell())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A sweep's scheduler stops a trial by SystemExit, which is no failure.
        self.finish(failed=kind not in (None, SystemExit))

    @contextmanager
    def _tolerant(self, action: str) -> Iterator[Any | None]:
        try:
            yield self._run
        except Exception as error:
            if action not in self._failures:
                _say(f"{action} failed, training goes on ({in_a_line(error)})")
            self._failures.add(action)


StartTracking = Callable[[str | Path, Mapping[str, Any]], Tracker]


def tracker(
    mode: str = "offline",
    project: str | None = None,
    entity: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
    name: str | None = None,
) -> StartTracking:
    """How a run is tracked, checked before the run has a folder.

    W&B's environment variables hold as its users expect: `WANDB_MODE` is stronger than the mode given here, tags of
    `WANDB_TAGS` are added, and `WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_RUN_GROUP`, `WANDB_JOB_TYPE`, `WANDB_NAME` and
    `WANDB_NOTES` say what nothing here says. Folder and id are the run's, whatever `WANDB_DIR` and `WANDB_RUN_ID` are.

    Args:
        mode: "offline" writes W&B's files into the folder, and the last line printed says how to upload them; "online"
            uploads at once, or is offline if there is no login; "disabled" tracks nothing and imports no wandb.
        project: Project to which the runs are uploaded; None is "difflut".
        entity: User or team; None is the default one of the login.
        group: Group of runs that are shown together, such as the trials of one sweep.
        tags: Tags, of which W&B takes 64 characters each; the middle of longer ones is left out.

    Returns:
        Starts to track the run in a folder, or goes on with it: its W&B id is kept in `folder/wandb/run_id`. Its second
        argument is what is shown as the run's configuration.

    Raises:
        ConfigurationError: There is no such mode, or no project can have that name.
    """
    check_names("tracking.mode", [mode], MODES)
    if requested := os.environ.get("WANDB_MODE"):
        mode = ALIASES.get(requested, requested)
        check_names("the environment's WANDB_MODE", [mode], MODES)
    if mode == "disabled":
        return lambda folder, config: Tracker()
    project = project or os.environ.get("WANDB_PROJECT") or "difflut"
    if len(project) > 128 or set(project) & set("/\\#?%:"):
        raise ConfigurationError(f"tracking.project = {project!r} must have at most 128 characters, none of /\\#?%:")
    all_tags = [*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))]
    options = {
        "project": project,
        "entity": entity,
        "group": group,
        "job_type": job_type,
        "tags": tuple(dict.fromkeys(_fitting(tag) for tag in all_tags if tag)) or None,
        "name": name,
    }
    return lambda folder, config: _tracked(Path(folder), mode == "online", {**options, "config": dict(config)})


def _fitting(tag: str) -> str:
    return tag if len(tag) <= 64 else f"{tag[:31]}…{tag[-32:]}"


def _tracked(folder: Path, online: bool, options: dict[str, Any]) -> Tracker:
    # W&B's reports about its own use would look for the network even in an offline run.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except Exception as error:  # for instance, a package that it needs has another version
        reason = in_a_line(error)
        _say(f"off, wandb cannot be imported ({reason}): pip install wandb, or set tracking.mode = 'disabled'")
        return Tracker()
    if online:
        try:
            if wandb.login(prompt=False, verify=True):
                return Tracker(_start(wandb, folder, "online", options))
            reason = "no login; wandb login stores one"
        except Exception as error:
            reason = in_a_line(error)
        _say(f"offline instead of online ({reason})")
    try:
        run = _start(wandb, folder, "offline", options)
    except Exception as error:
        _say(f"off, the run could not be started ({in_a_line(error)})")
        return Tracker()
    return Tracker(run, lambda: _sync_command(folder, run.id))


def _start(wandb: Any, folder: Path, mode: str, options: dict[str, Any]) -> Any:
    settings = wandb.Settings(
        silent=True, console="off", init_timeout=60, finish_timeout=600, finish_timeout_raises=True
    )
    id = _run_id(folder)
    # An offline run takes no notice of `resume`; it is joined to its predecessor by its id when it is synced.
    resume = "allow" if mode == "online" else None
    return wandb.init(
        dir=str(folder), mode=mode, id=id, resume=resume, reinit="create_new", settings=settings, **options
    )


def _run_id(folder: Path) -> str:
    path = folder / "wandb" / "run_id"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex[:8], encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _sync_command(folder: Path, id: str) -> str:
    parts = sorted(str(part) for part in (folder / "wandb").glob(f"offline-run-*-{id}*"))
    return f"to upload: wandb sync {shlex.join(parts)}"


def _say(line: str) -> None:
    print(f"tracking: {line}", flush=True)
