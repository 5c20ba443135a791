"""Checking every trial before the first one starts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from difflut import config
from difflut.models import LUTNetwork
from experiments.runs import TrialRun
from experiments.sweep.objectives import OF_LUTS, OF_VALIDATION
from experiments.sweep.plan import SEED, Point


def trial_config(text: str, bindings: Mapping[str, str]) -> str:
    """The Gin text of a trial: the sweep's, the trial's bindings, and the job that trains."""
    lines = [f"{name} = {value}" for name, value in bindings.items()]
    return "\n".join([text, *lines, "run.job = @train", ""])


def _check_anew() -> None:
    """Refuses bindings by which all trainings of a sweep or reproduction would continue one run, or train nothing."""
    for name, value in config.bound(["train.resume", "train.dry_run", "train.trial"]).items():
        if value:
            raise config.ConfigurationError(f"{name} = {value!r}: each trial trains a run of its own; leave it out")


class Checker:
    """Parses trials' configurations and builds what they say; trials that differ in the seed alone are built once.

    Args:
        text: The Gin text of the sweep.
        objectives: Objectives that its scheduler or its search goes by.
    """

    def __init__(self, text: str, objectives: Sequence[str] = ()) -> None:
        self.text = text
        self.of_validation = [name for name in objectives if name in OF_VALIDATION]
        self.of_luts = [name for name in objectives if name in OF_LUTS]
        self._sizes: dict[frozenset[tuple[str, str]], dict[str, int]] = {}

    def size(self, point: Point) -> dict[str, int]:
        """`tables`, `parameters` and `epochs` of a trial.

        Raises:
            ConfigurationError: Its configuration cannot be parsed, or nothing can be built from it.
        """
        with self._parsed(point):
            key = frozenset(item for item in point.bindings.items() if item[0] != SEED)
            if key not in self._sizes:
                size = config.run(dry_run=True, trial=TrialRun(None))
                del size["network"]
                self._check_objectives(size.pop("validation_rows"))
                self._sizes[key] = size
            return self._sizes[key]

    def network(self, point: Point) -> LUTNetwork:
        """The network of a trial as it starts, its encoder not fitted; the trial's configuration stays.

        Raises:
            ConfigurationError: As in `size`.
        """
        with self._parsed(point):
            return config.run(dry_run=True, trial=TrialRun(None))["network"]

    @contextmanager
    def _parsed(self, point: Point) -> Iterator[None]:
        """Parses the configuration of a trial; errors then name the trial."""
        try:
            config.parse([], text=trial_config(self.text, point.bindings))
            _check_anew()
            yield
        except (ValueError, TypeError, KeyError, RuntimeError, OSError, AttributeError) as error:
            raise config.ConfigurationError(f"{point}: {error}") from error

    def _check_objectives(self, validation_rows: int) -> None:
        if self.of_validation and not validation_rows:
            raise config.ConfigurationError(
                f"the objective {self.of_validation[0]!r} is of validation rows, of which there are none; raise "
                "dataset.validation_fraction, or set ablate.objectives"
            )
        if self.of_luts and not config.bound(["train.count_luts"]).get("train.count_luts", True):
            raise config.ConfigurationError(
                f"the objective {self.of_luts[0]!r} needs the number of LUTs: leave out train.count_luts = False, or "
                "set ablate.objectives"
            )

    def sizes(self, points: Sequence[Point]) -> list[dict[str, int]]:
        """The sizes of all trials, printed for each that differs in more than the seed.

        Raises:
            ConfigurationError: The first wrong trial, by its number and values.
        """
        all_sizes = []
        for number, point in enumerate(points):
            known = len(self._sizes)
            try:
                all_sizes.append(self.size(point))
            except config.ConfigurationError as error:
                raise config.ConfigurationError(f"trial {number + 1} of {len(points)}, {error}") from error
            if len(self._sizes) > known:
                values = ", ".join(f"{label} = {value}" for label, value in point.values.items() if label != SEED)
                print(f"{all_sizes[-1]['tables']:>10,} tables {all_sizes[-1]['parameters']:>12,} parameters  {values}")
        return all_sizes
