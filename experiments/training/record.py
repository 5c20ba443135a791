"""What a training leaves, and where."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from difflut.training.ranks import Ranks
from experiments.runs import RunFolder, TrialRun
from experiments.shared.arguments import check_folder, check_name, check_seconds
from experiments.training.resuming import resuming_command


@dataclass(frozen=True)
class Record:
    """Where a run is written, how often, and what of it; fields are arguments of the job `train`."""

    runs: str
    name: str
    resume: str | None
    checkpoint_seconds: float | None
    upload_checkpoint: bool
    count_luts: bool
    trial: TrialRun

    def check(self, is_written: bool) -> None:
        """Checks names, numbers and, where something will be written, the folder.

        Raises:
            ConfigurationError: One of them cannot be.
        """
        check_name("train.name", self.name)
        if self.checkpoint_seconds is not None:
            check_seconds("train.checkpoint_seconds", self.checkpoint_seconds)
        if is_written and not (self.resume or self.trial.folder):
            check_folder("train.runs", Path(self.runs))

    def folder(self) -> RunFolder:
        """The folder of the run to continue, of the sweep's trial, or a new one."""
        if self.resume:
            return RunFolder.open(self.resume)
        return self.trial.folder or RunFolder.create(self.runs, self.name)


@contextmanager
def said_how_to_go_on(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    """An interruption inside, or a file that cannot be written, ends with the command that continues the run."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        if ranks.is_first and folder.last.exists():
            command = resuming_command(folder.path, "train")
            print(f"\ninterrupted; continue with\n{command}", file=sys.stderr)
        raise
