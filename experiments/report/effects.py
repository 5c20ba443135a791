"""The effect of a dimension with the others held."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.report.outcomes import ACCURACY, Outcome, is_logarithmic, is_range

# The share of the runs of a value that must have a counterpart, so that matched pairs represent the value.
ENOUGH = 0.5


@dataclass(frozen=True)
class Effect:
    """What one value of a dimension changes, against the dimension's reference value.

    Args:
        differences: One a matched pair or, if `fitted`, one a run; none for the reference.
        error: The standard error of their mean; None where it cannot be told.
    """

    dimension: str
    value: str
    reference: str
    differences: tuple[float, ...]
    error: float | None
    fitted: bool = False

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.differences) if self.differences else None

    @property
    def better(self) -> int:
        """The number of differences that are positive."""
        return sum(difference > 0 for difference in self.differences)


def effects(outcomes: Iterable[Outcome], dimension: str, values: Iterable[str], score: str = ACCURACY) -> list[Effect]:
    """The effect of each value of a dimension, by matched pairs where there are enough, else by a fit.

    Args:
        values: The dimension's values in the sweep's order; one without finished trials is left out.
        score: The key in `Outcome.scores`.
    """
    finished = [trial for trial in outcomes if trial.status == "finished" and score in trial.scores]
    paired = paired_effects(finished, dimension, values, score)
    runs = {effect.value: sum(trial.values[dimension] == effect.value for trial in finished) for effect in paired}
    others = [effect for effect in paired if effect.value != effect.reference]
    if all(len(effect.differences) >= ENOUGH * runs[effect.value] for effect in others):
        return paired
    return fitted_effects(finished, dimension, [effect.value for effect in paired], score) or paired


def paired_effects(
    finished: Iterable[Outcome], dimension: str, values: Iterable[str], score: str = ACCURACY
) -> list[Effect]:
    """Effects from trials that are equal in all else.

    Two trials are a matched pair if they differ in `dimension` only: all other values and the seed are the same. The
    effect of a value is the mean, over all pairs of a trial with this value and one with the reference, of the
    difference of their scores; its error is the differences' standard deviation over the root of their number. A
    trial without its counterpart counts in no pair. That biases nothing where trials are missing whatever their score,
    as those that a condition leaves out; but those that a scheduler stopped are missing because they were behind, and
    the effect among the survivors is nearer to zero. Trials that are equal in everything are averaged first.

    The reference is the value that shares settings of the rest with the most other values; of several, the first
    in `values`. The first value that a sweep lists is thus the reference, unless a condition keeps it apart.
    """
    settings = _settings(finished, dimension, score)
    present = [value for value in values if any(value in setting for setting in settings)]
    if not present:
        return []
    reference = max(present, key=lambda value: len(set().union(*(setting for setting in settings if value in setting))))
    effects = []
    for value in present:
        pairs = [setting for setting in settings if value in setting and reference in setting and value != reference]
        differences = tuple(setting[value] - setting[reference] for setting in pairs)
        error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None
        effects.append(Effect(dimension, value, reference, differences, error))
    return effects


def _settings(finished: Iterable[Outcome], dimension: str, score: str) -> list[Mapping[str, float]]:
    """For each setting of everything else, the score of each value of the dimension that was tried there."""
    scores_by_setting: dict[tuple[str | None, ...], dict[str, list[float]]] = {}
    for trial in finished:
        setting = (trial.seed, *(value for key, value in trial.values.items() if key != dimension))
        scores_by_setting.setdefault(setting, {}).setdefault(trial.values[dimension], []).append(trial.scores[score])
    return [
        {value: statistics.fmean(scores) for value, scores in setting.items()} for setting in scores_by_setting.values()
    ]


def fitted_effects(
    finished: Sequence[Outcome], dimension: str, values: Sequence[str], score: str = ACCURACY
) -> list[Effect]:
    """Effects from a least-squares fit, for random and guided searches, in which hardly any two trials match.

    The score is taken as a sum: a constant for each value of each dimension and for each seed, and for a dimension that
    is a range of numbers a parabola in the number, or in its logarithm where that spreads them better. The effect of a
    value is its constant minus that of the first in `values`, its error the fit's. A run's difference is the effect
    plus what the fit leaves over of this run. How dimensions work together is not seen.

    Returns:
        Nothing where there are not twice as many trials as unknowns, or they do not determine them.
    """
    reference, *others = values
    has_value = [np.array([trial.values[dimension] == value for trial in finished], dtype=float) for value in others]
    other_columns = [
        _columns([trial.values[label] for trial in finished]) for label in finished[0].values if label != dimension
    ]
    other_columns.append(_columns([str(trial.seed) for trial in finished]))
    design = np.column_stack(
        [*has_value, np.ones(len(finished)), *(column for columns in other_columns for column in columns)]
    )
    unknowns = design.shape[1]
    if len(finished) < 2 * unknowns or np.linalg.matrix_rank(design) < unknowns:
        return []
    scores = np.array([trial.scores[score] for trial in finished])
    solution = np.linalg.lstsq(design, scores, rcond=None)[0]
    left = scores - design @ solution
    variance = left @ left / (len(finished) - unknowns) * np.diag(np.linalg.inv(design.T @ design))
    return [Effect(dimension, reference, reference, (), None, fitted=True)] + [
        Effect(
            dimension, value, reference, tuple(solution[i] + left[has_value[i] > 0]), float(variance[i] ** 0.5), True
        )
        for i, value in enumerate(others)
    ]


def _columns(texts: Sequence[str]) -> list[np.ndarray]:
    """A dimension's part of the design: a column for each value but the first, or a number and its square."""
    values = list(dict.fromkeys(texts))
    if not is_range(values):
        return [np.array([text == value for text in texts], dtype=float) for value in values[1:]]
    listed = [float(text) for text in texts]
    numbers = np.log(listed) if is_logarithmic(listed) else np.array(listed)
    numbers = (numbers - numbers.mean()) / numbers.std()
    return [numbers, numbers**2]
