"""Run folders: everything that a run leaves behind, and all that is needed to repeat or continue it.

config.gin          the operative configuration: `python run.py --gin_file runs/NAME/config.gin` repeats the run
metrics.jsonl       one line an epoch
last.pt             checkpoint after the last epoch, from which the run can be continued
best.pt             checkpoint after the epoch of the best validation accuracy, the network alone
teacher.pt          the weights of the network that taught, if any
result.json         the result of the run
plots/, wandb/      pictures, and Weights & Biases' files
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from difflut.config import ConfigurationError, meanings
from difflut.models import UNFINISHED
from difflut.pretrained import VECTORS, Pretrained, folder_of, names, read_model
from difflut.registry import similar
from experiments.data import Dataset, DatasetNotFoundError, load_dataset
from experiments.shared.files import write_file, write_json


class RunFolder:
    """A run's folder; a new one is named after the time and never shares its folder with another run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: str, name: str) -> "RunFolder":
        """Makes a new folder `parent/name-date-time`.

        Raises:
            ConfigurationError: It cannot be made there.
        """
        stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        for number in range(1000):
            path = Path(parent, f"{stem}-{number}" if number else stem)
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise ConfigurationError(f"{path}: a run's folder cannot be made here ({error.strerror})") from error
            return cls(path)
        raise FileExistsError(f"{parent}/{stem}: a thousand runs were started in this second")

    @classmethod
    def open(cls, path: str) -> "RunFolder":
        """Opens the folder of an earlier run, to continue it.

        Raises:
            FileNotFoundError: It has no last.pt or no config.gin.
        """
        return cls._having(path, "run to continue", "last.pt", "config.gin")

    @classmethod
    def open_finished(cls, path: str) -> "RunFolder":
        """Opens the folder of a finished run, for its network; or a model that comes along, by its name.

        Raises:
            FileNotFoundError: It has no best.pt or no result.json.
        """
        return cls._having(str(folder_of(path)), "finished run", "best.pt", "result.json", models=names())

    @classmethod
    def _having(cls, path: str, what: str, *files: str, models: Sequence[str] = ()) -> "RunFolder":
        if missing := [name for name in files if not Path(path, name).exists()]:
            others = sorted(str(file.parent) for file in Path(path).parent.glob(f"*/{files[0]}"))
            hint = f"; {meant}" if not Path(path).exists() and (meant := similar(path, [*others, *models])) else ""
            raise FileNotFoundError(f"{path}: no {what} here; {missing[0]} is missing{hint}")
        return cls(Path(path))

    @property
    def last(self) -> Path:
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "best.pt"

    @property
    def teacher(self) -> Path:
        return self.path / "teacher.pt"

    @property
    def vectors(self) -> Path:
        """Test inputs that a published model brings."""
        return self.path / VECTORS

    @property
    def exports(self) -> Path:
        """The folder of its exports; that of a model that comes along lies in `runs/` of the present folder."""
        comes_along = self.path.name in names() and self.path == folder_of(self.path.name)
        return Path("runs", self.path.name, "export") if comes_along else self.path / "export"

    @property
    def plots(self) -> Path:
        path = self.path / "plots"
        path.mkdir(exist_ok=True)
        return path

    @property
    def config(self) -> str:
        """The Gin text that repeats the run."""
        return (self.path / "config.gin").read_text(encoding="utf-8")

    def write_config(self, text: str) -> None:
        write_file(self.path / "config.gin", text)

    def write_result(self, result: Mapping[str, Any]) -> None:
        write_json(self.path / "result.json", result)

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def result(self) -> dict[str, Any]:
        """The result of the run.

        Raises:
            ValueError: Its result.json does not say which data set and seed the run had.
        """
        file = self.path / "result.json"
        with suppress(ValueError):
            result = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(result, dict) and "dataset" in result and "seed" in result:
                return result
        raise ValueError(f"{file}: damaged or not of a run, as it says no dataset and seed; take another run")

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics of each finished epoch."""
        return [json.loads(line) for line in self._lines()]

    def forget_after(self, epoch: int) -> None:
        """Removes the metrics of epochs that are about to be trained again, and what a kill left half written."""
        for half in self.path.glob(f"*{UNFINISHED}[0-9]*"):
            half.unlink()
        write_file(self.path / "metrics.jsonl", "".join(f"{line}\n" for line in self._lines()[:epoch]))

    def forget_result(self) -> None:
        """Removes the result of the run, since the run goes on."""
        (self.path / "result.json").unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        """The whole lines of metrics.jsonl; a kill may have left half of one more."""
        file = self.path / "metrics.jsonl"
        return file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []


def dataset_of(run: RunFolder) -> Dataset:
    """The data of a finished run, from the same source and with the same validation rows.

    Where they are not there, a published model's test vectors are all its rows.

    Raises:
        ValueError: Its result.json does not say which data set and seed it had.
        DatasetNotFoundError: They are no longer there.
    """
    result, bound = run.result(), meanings(run.config)
    bindings = {key: bound.get(f"dataset.{key}") for key in ("validation_fraction", "cache_dir")}
    options = {key: value for key, value in bindings.items() if value is not None}
    try:
        return load_dataset(result["dataset"], seed=result["seed"], **options)
    except DatasetNotFoundError as error:
        if not run.vectors.exists():
            raise
        data = _of_vectors(read_model(run.path))
        print(f"{error}; the {len(data.x_test)} test vectors of {run.path.name} take its place", flush=True)
        return data


def _of_vectors(model: Pretrained) -> Dataset:
    x, y = torch.from_numpy(model.x), torch.from_numpy(model.y)
    return Dataset(str(model.card["dataset"]), x[:0], y[:0], x[:0], y[:0], x, y, list(model.card["classes"]))


@dataclass(frozen=True)
class TrialRun:
    """What a sweep tells the run of one of its trials.

    Attributes:
        folder: The run's folder, made by the sweep; None where the run continues an earlier one.
        tracking: Arguments of the tracker: group, job type, tags.
        values: Values of the sweep's dimensions, for the tracker's configuration.
        report: Function that is called with the metrics of each epoch, when all files are written; may end the run by
            raising.
    """

    folder: RunFolder | None
    tracking: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    report: Callable[[Mapping[str, float]], None] = lambda row: None
