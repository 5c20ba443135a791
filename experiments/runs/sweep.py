"""The folder of a sweep: its trials and their states.

config.gin              repeats the sweep
sweep.json              its dimensions and objectives, and every trial's values, bindings and size
trials/ID/              the ordinary run folder of a trial (see `experiments.runs.folder`) with trial.json, its state
report/                 tables, plots and the page that the report job writes

This is the one record of a sweep: it can be read while the sweep runs, and is all that resuming needs.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from experiments.runs.folder import RunFolder
from experiments.shared.files import read_json, write_json

FORMAT = 3
STATES = ("pending", "running", "finished", "stopped", "failed")


@dataclass(frozen=True)
class Trial:
    """One trial as `sweep.json` has it.

    Attributes:
        id: Number as text, which is the name of its folder.
        values: Text that stands for its value in tables, for each dimension.
        bindings: The text bound to each Gin name.
        tables: Tables of the network.
        parameters: Trained numbers of the network.
        epochs: Number of epochs that it is trained for unless it is stopped.
        path: Its run folder, which is there from the trial's start.
    """

    id: str
    values: dict[str, str]
    bindings: dict[str, str]
    tables: int
    parameters: int
    epochs: int
    path: Path = field(compare=False)

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.path)

    @property
    def state(self) -> dict[str, Any]:
        """`trial.json`: status, reason, attempts, node, pid; started, first_step, ended in seconds since 1970."""
        return read_json(self.path / "trial.json", {"status": "pending", "reason": None, "attempts": 0})

    @property
    def status(self) -> str:
        """One of `STATES`; "running" may also mean that the sweep was killed while the trial ran."""
        return self.state["status"]

    @property
    def result(self) -> dict[str, Any] | None:
        """`result.json` of a finished trial; None for any other."""
        return read_json(self.path / "result.json", None) if self.status == "finished" else None

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics of each epoch so far, read at once even while a trial writes them."""
        return self.run.metrics()

    def record(self, status: str, **facts: Any) -> None:
        """Changes `trial.json`; facts that are not named stay.

        Raises:
            ValueError: There is no such status.
        """
        if status not in STATES:
            raise ValueError(f"a trial's status must be one of {', '.join(STATES)}, got {status!r}")
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "trial.json", {**self.state, "status": status, **facts})


class Sweep:
    """A sweep's folder.

    Attributes:
        path: The folder.
        name: Name of the sweep.
        group: Group of its trials in Weights & Biases.
        created: Date and time, ISO 8601.
        metric: The objective that counts first, a key of the epochs' metrics.
        objectives: "max" or "min" for each objective; see `experiments.sweep.objectives`.
        dimensions: The values of each dimension as text, in the order of the sweep; a range is one text.
        seed_dimension: The dimension over which results are averaged; None if seeds do not vary.
        trials: Trials in the order of their start; random and guided searches append to them.
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.name: str = content["name"]
        self.group: str = content["group"]
        self.created: str = content["created"]
        self.metric: str = content["metric"]
        self.objectives: dict[str, str] = dict(content["objectives"])
        self.dimensions: dict[str, list[str]] = dict(content["dimensions"])
        self.seed_dimension: str | None = content["seed_dimension"]
        self.trials: list[Trial] = [Trial(**trial, path=self._trial_path(trial["id"])) for trial in content["trials"]]

    @classmethod
    def create(
        cls,
        parent: str,
        name: str,
        config: str,
        objectives: Mapping[str, str],
        dimensions: Mapping[str, list[str]],
        seed_dimension: str | None,
        group: str | None = None,
    ) -> "Sweep":
        """Makes a new folder `parent/name-date-time` without trials; `config` repeats the sweep."""
        folder = RunFolder.create(parent, name)
        folder.write_config(config)
        sweep = cls(
            folder.path,
            {
                "name": name,
                "group": group or name,
                "created": datetime.now().isoformat(timespec="seconds"),
                "metric": next(iter(objectives)),
                "objectives": objectives,
                "dimensions": dimensions,
                "seed_dimension": seed_dimension,
                "trials": [],
            },
        )
        sweep._write()
        return sweep

    @classmethod
    def open(cls, path: str | Path) -> "Sweep":
        """Opens the folder of a sweep, finished or not.

        Raises:
            FileNotFoundError: There is no sweep.
            ValueError: It has a format that this version does not know.
        """
        file = Path(path) / "sweep.json"
        if not file.exists():
            raise FileNotFoundError(f"{path}: no sweep here; {file.name} is missing")
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"{file}: format {content['format']}; this version reads format {FORMAT}")
        return cls(Path(path), content)

    @property
    def config(self) -> str:
        """The Gin text that repeats the sweep."""
        return (self.path / "config.gin").read_text(encoding="utf-8")

    def write_config(self, text: str) -> None:
        """Replaces that text, where trials are run in another way from now on."""
        RunFolder(self.path).write_config(text)

    @property
    def report(self) -> Path:
        """The folder of the report, made where it is missing."""
        path = self.path / "report"
        path.mkdir(exist_ok=True)
        return path

    def add(self, trials: Iterable[Mapping[str, Any]]) -> list[Trial]:
        """Appends trials, each given by values, bindings and sizes; the next free numbers are their ids."""
        added = []
        for number, trial in enumerate(trials, start=len(self.trials)):
            id = f"{number:04d}"
            added.append(Trial(id=id, **trial, path=self._trial_path(id)))
        self.trials += added
        self._write()
        return added

    @property
    def trials_path(self) -> Path:
        return self.path / "trials"

    def _trial_path(self, id: str) -> Path:
        return self.trials_path / id

    def _write(self) -> None:
        trials = [asdict(trial) for trial in self.trials]
        for trial in trials:
            del trial["path"]
        content = {
            "format": FORMAT,
            "name": self.name,
            "group": self.group,
            "created": self.created,
            "metric": self.metric,
            "objectives": self.objectives,
            "dimensions": self.dimensions,
            "seed_dimension": self.seed_dimension,
            "trials": trials,
        }
        write_json(self.path / "sweep.json", content)


def tracking_key(label: str) -> str:
    """The key of a dimension in Weights & Biases, where a dot would mean a nested key."""
    return label.replace(".", "_").replace("/", "_")
