"""Run folders: everything that a run leaves behind, and all that is needed to repeat or continue it.

config.gin          the operative configuration: `python run.py --gin_file runs/NAME/config.gin` repeats the run
metrics.jsonl       one line an epoch
last.pt, best.pt    checkpoints: after the last epoch, and after that of the best validation accuracy
result.json         what the run came to
plots/, wandb/      pictures, and Weights & Biases' files
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


class RunFolder:
    """A run's folder; a new one is named after the time and never shares its folder with another run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: str, name: str) -> "RunFolder":
        """Makes a new folder `parent/name-date-time`."""
        stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        for number in range(1000):
            path = Path(parent, f"{stem}-{number}" if number else stem)
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            return cls(path)
        raise FileExistsError(f"{parent}/{stem}: a thousand runs were started in this second")

    @classmethod
    def open(cls, path: str) -> "RunFolder":
        """Opens the folder of an earlier run.

        Raises:
            FileNotFoundError: There is no run with a checkpoint.
        """
        folder = cls(Path(path))
        if not folder.last.exists():
            raise FileNotFoundError(f"{path}: no run to continue here; {folder.last.name} is missing")
        return folder

    @property
    def last(self) -> Path:
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "best.pt"

    @property
    def plots(self) -> Path:
        path = self.path / "plots"
        path.mkdir(exist_ok=True)
        return path

    def write_config(self, text: str) -> None:
        (self.path / "config.gin").write_text(text)

    def write_result(self, result: Mapping[str, Any]) -> None:
        (self.path / "result.json").write_text(json.dumps(result, indent=2) + "\n")

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The metrics of each finished epoch."""
        file = self.path / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def forget_after(self, epoch: int) -> None:
        """Removes the metrics of epochs that are about to be trained again; a kill may have left half a line."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines()[:epoch] if file.exists() else []
        file.write_text("".join(f"{line}\n" for line in lines))
