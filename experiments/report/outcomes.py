"""The outcomes of trials, and the configurations that trials repeat with several seeds."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiments.runs import Sweep, Trial

ACCURACY, VALIDATION = "test_accuracy_hard", "val_accuracy_hard"
# A dimension with more values than this has no colour for each of them.
MANY = 14


@dataclass(frozen=True)
class Outcome:
    """One trial: the values that it was given, and what is known of it so far.

    Args:
        values: Values by dimension, without the seed.
        status: One of `experiments.runs.STATES`.
        reason: Why it failed or was stopped.
        scores: The numbers of its result.json, and the highest accuracy on validation rows where there are any; empty
            while there is no result.
        curve: The rows of its metrics.jsonl.
    """

    id: str
    values: Mapping[str, str]
    seed: str | None
    status: str
    reason: str | None
    scores: Mapping[str, float]
    curve: Sequence[Mapping[str, float]]


def outcomes(sweep: Sweep) -> list[Outcome]:
    """The outcomes of a sweep's trials as they are now."""
    return [_outcome(trial, sweep.seed_dimension) for trial in sweep.trials]


def _outcome(trial: Trial, seed_dimension: str | None) -> Outcome:
    values = {label: value for label, value in trial.values.items() if label != seed_dimension}
    seed = trial.values.get(seed_dimension) if seed_dimension else None
    state = trial.state
    scores = {key: value for key, value in (trial.result or {}).items() if isinstance(value, int | float)}
    curve = trial.metrics()
    if scores and (validated := [row[VALIDATION] for row in curve if VALIDATION in row]):
        scores[VALIDATION] = max(validated)
    return Outcome(trial.id, values, seed, state["status"], state["reason"], scores, curve)


def dimensions(sweep: Sweep) -> dict[str, list[str]]:
    """The values that the trials have in each dimension but the seed's: those listed first, then numbers by size."""
    values_of = {}
    for label, listed in sweep.dimensions.items():
        if label != sweep.seed_dimension:
            used = {trial.values[label] for trial in sweep.trials}
            # Of a range, the sweep lists its text, and each trial has a value of its own.
            drawn = sorted(used.difference(listed), key=lambda value: (number(value) is None, number(value), value))
            values_of[label] = [value for value in listed if value in used] + drawn
    return values_of


def number(text: str) -> float | None:
    """The number that a value is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def is_range(values: Sequence[str]) -> bool:
    """Whether values are so many numbers that each is hardly ever met twice."""
    return len(values) > MANY and all(number(value) is not None for value in values)


def is_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether numbers are so much denser at their lower end that a logarithm spreads them better."""
    low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
    return low > 0 and high - middle > 4 * (middle - low)


@dataclass(frozen=True)
class Configuration:
    """The trials that differ in nothing but the seed.

    Args:
        finished: Those that the figures are taken from.
        planned: Number of trials that the sweep holds.
    """

    values: Mapping[str, str]
    finished: Sequence[Outcome]
    planned: int

    def scores(self, key: str) -> list[float]:
        """One number a finished trial; those that have none are left out."""
        return [trial.scores[key] for trial in self.finished if key in trial.scores]

    def mean(self, key: str) -> float:
        """The mean over seeds; one of them at least has such a score."""
        return statistics.fmean(self.scores(key))

    def deviation(self, key: str) -> float | None:
        """The standard deviation over seeds (n - 1 degrees of freedom); None for a single one."""
        scores = self.scores(key)
        return statistics.stdev(scores) if len(scores) > 1 else None


def configurations(outcomes: Iterable[Outcome]) -> list[Configuration]:
    """The configurations with a finished trial, the most accurate one by what `deciding` says first."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(tuple(outcome.values.values()), []).append(outcome)
    entries = [
        Configuration(group[0].values, [trial for trial in group if trial.status == "finished"], len(group))
        for group in groups.values()
    ]
    entries = [entry for entry in entries if entry.scores(ACCURACY)]
    key = deciding(entries)
    return sorted(entries, key=lambda entry: -entry.mean(key))


def deciding(configurations: Iterable[Configuration]) -> str:
    """The accuracy that chooses: on validation rows, so that the test set does not, unless some have none."""
    return VALIDATION if all(entry.scores(VALIDATION) for entry in configurations) else ACCURACY


def pareto_front(configurations: Sequence[Configuration], cost: str) -> list[Configuration]:
    """Those for which no other is at least as good in the means of a cost and of the accuracy that is `deciding`, and
    better in one; the cheapest first.
    """
    gain, front = deciding(configurations), list[Configuration]()
    for entry in sorted(configurations, key=lambda entry: (entry.mean(cost), -entry.mean(gain))):
        if not front or entry.mean(gain) > front[-1].mean(gain):
            front.append(entry)
    return front
