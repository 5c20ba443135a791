"""The numbers of a report, computed once for all its forms."""

from collections import Counter
from functools import cached_property

from experiments.report.effects import Effect, effects
from experiments.report.outcomes import (
    ACCURACY,
    MANY,
    Configuration,
    configurations,
    dimensions,
    is_range,
    number,
    outcomes,
    pareto_front,
)
from experiments.report.style import Look, looks
from experiments.report.tables import GAP, HARD, LUTS, SECONDS, VALIDATED, Score
from experiments.runs import Sweep
from experiments.shared.costs import CHAINED, PARTS, REGISTERS

ORDER = ("finished", "running", "pending", "stopped", "failed")
LUT_PARTS = [
    *(Score(name, name.removeprefix("luts_").replace("_", " ")) for name in PARTS + REGISTERS),
    Score(CHAINED, "LUT6 with carry chains"),
]
SCORES = [VALIDATED, HARD, GAP, LUTS, SECONDS]
FRONT_SCORES = [VALIDATED, HARD, LUTS, *LUT_PARTS]


class Summary:
    """A sweep as it is now.

    Attributes:
        outcomes: Outcomes of all trials.
        dimensions: Those that vary, without the seed's, with their values.
        ranked: The configurations with a finished trial, the most accurate on validation rows first.
        dataset: Data set of the finished trials.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.outcomes = outcomes(sweep)
        self.dimensions = {label: values for label, values in dimensions(sweep).items() if len(values) > 1}
        self.ranked = configurations(self.outcomes)
        self.dataset: str | None = next((trial.result["dataset"] for trial in sweep.trials if trial.result), None)

    @property
    def progress(self) -> str:
        """How many trials are in which state, in words."""
        counts = Counter(outcome.status for outcome in self.outcomes)
        states = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
        return f"{len(self.outcomes)} trials: {states or 'none yet'}"

    @property
    def caveat(self) -> str | None:
        """What to bear in mind where a scheduler stopped trials; None where none was stopped."""
        number = sum(outcome.status == "stopped" for outcome in self.outcomes)
        if not number:
            return None
        return (
            f"Effects and means are of survivors: {number} of {len(self.outcomes)} trials were stopped because they "
            "were behind. Means of values that lost many are thus too good, and effects look smaller than they are."
        )

    @cached_property
    def front(self) -> list[Configuration]:
        """The Pareto front of the accuracy that decides and all LUTs."""
        return pareto_front([entry for entry in self.ranked if entry.scores(LUTS.key)], LUTS.key)

    @cached_property
    def effects(self) -> dict[str, list[Effect]]:
        """By dimension; names with the most accurate first, numbers by size. Ranges of numbers have none."""
        few = (label for label in self.dimensions if not is_range(self.dimensions[label]))
        by_dimension = {label: effects(self.outcomes, label, self.dimensions[label]) for label in few}
        return {
            label: self._ordered(label, in_dimension)
            for label, in_dimension in by_dimension.items()
            if len(in_dimension) > 1
        }

    @cached_property
    def looks(self) -> dict[str, dict[str, Look]]:
        """The looks of the values of each dimension that has few."""
        return {label: looks(values) for label, values in self.dimensions.items() if len(values) <= MANY}

    def _ordered(self, label: str, unordered: list[Effect]) -> list[Effect]:
        if all(number(effect.value) is not None for effect in unordered):
            return sorted(unordered, key=lambda effect: float(effect.value))
        return sorted(unordered, key=lambda effect: -self._accuracy(label, effect.value))

    def _accuracy(self, label: str, value: str) -> float:
        scores = [score for entry in self.ranked if entry.values[label] == value for score in entry.scores(ACCURACY)]
        return sum(scores) / len(scores)
