"""Guided search: Optuna suggests each trial from the results of those before."""

from typing import Any

from difflut.config import ConfigurationError
from experiments.runs import Sweep, Trial
from experiments.sweep.checking import Checker
from experiments.sweep.objectives import measures
from experiments.sweep.plan import SEED, Plan, Point
from experiments.sweep.space import Choice, Dimension, Range
from experiments.sweep.tuning import parameters_of
from experiments.sweep.worker import OUTCOME


def check_every_value(plan: Plan, checker: Checker) -> list[dict[str, int]]:
    """The sizes of trials with each value of each dimension beside the first of all others, checked.

    Raises:
        ConfigurationError: One is wrong, or Optuna is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ConfigurationError("ablate.search = 'optuna' needs Optuna: pip install 'optuna>=4'") from error
    if any("only" in condition for condition in plan.conditions):
        raise ConfigurationError("ablate.search = 'optuna' can follow no condition with 'only'; use 'set'")
    ends = {label: _ends(dimension) for label, dimension in plan.dimensions.items()}
    first = {label: choices[0] for label, choices in ends.items()}
    points = [plan.point({**first, label: choice}) for label, choices in ends.items() for choice in choices]
    distinct = {str(point): point for point in points if point}
    return checker.sizes(list(distinct.values()))


def guided(plan: Plan, checker: Checker, sweep: Sweep, seed: int) -> Any:
    """A Tune searcher that writes each suggestion into the sweep as a trial; seeds take turns.

    It knows the finished trials of the sweep from the start.
    """
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Tune splits names at slashes, so dimensions have numbers here.
    dimensions = dict(enumerate(dimension for label, dimension in plan.dimensions.items() if label != SEED))
    space = {f"d{number}": _distribution(dimension) for number, dimension in dimensions.items()}
    modes = list(sweep.objectives.values())
    storage, name = optuna.storages.InMemoryStorage(), "optuna"
    ways = {"min": optuna.study.StudyDirection.MINIMIZE, "max": optuna.study.StudyDirection.MAXIMIZE}
    directions = [ways[mode] for mode in modes]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    for trial in sweep.trials:
        scores = _scores(sweep, trial)
        if scores:
            values = {f"d{number}": _parameter(d, trial.values[d.label]) for number, d in dimensions.items()}
            study.add_trial(optuna.trial.create_trial(params=values, distributions=space, values=scores))

    class Guided(OptunaSearch):
        """Optuna's suggestions as trials of the sweep."""

        def suggest(self, trial_id: str) -> dict[str, str]:
            values = super().suggest(trial_id)
            chosen = {d.label: d.choice(values[f"d{number}"]) for number, d in dimensions.items()}
            if SEED in plan.dimensions:
                seeds = plan.dimensions[SEED].choices
                chosen[SEED] = seeds[len(sweep.trials) % len(seeds)]
            point = plan.point(chosen)
            assert point is not None  # a guided search has no condition with 'only'
            return parameters_of(_added(sweep, checker, point))

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            missing = [name for name in sweep.objectives if name not in (result or {})]
            if missing and result and result.get(OUTCOME) == "finished":
                print(f"a trial has no {missing[0]!r}, an objective: the search learns nothing from it", flush=True)
            super().on_trial_complete(trial_id, None if missing else result, error or bool(missing))

    sampler = optuna.samplers.TPESampler(seed=seed + len(sweep.trials))
    return Guided(space, metric=list(sweep.objectives), mode=modes, sampler=sampler, storage=storage, study_name=name)


def _added(sweep: Sweep, checker: Checker, point: Point) -> Trial:
    try:
        size = checker.size(point)
    except ConfigurationError:
        # Each value is valid, but not together: the trial will fail and say why.
        size = {"tables": 0, "parameters": 0, "epochs": 0}
    [trial] = sweep.add([point.trial(size)])
    return trial


def _ends(dimension: Dimension) -> list[Choice]:
    if isinstance(dimension, Range):
        return [dimension.choice(dimension.low), dimension.choice(dimension.high)]
    return list(dimension.choices)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(dimension, Range):
        return CategoricalDistribution(dimension.description)
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _parameter(dimension: Dimension, value: str) -> Any:
    if not isinstance(dimension, Range):
        return value
    return int(value) if dimension.integer else min(max(float(value), dimension.low), dimension.high)


def _scores(sweep: Sweep, trial: Trial) -> list[float] | None:
    """The objectives of a finished trial; None where one is missing."""
    measured = measures(trial.run, trial.result or {})
    return [float(measured[name]) for name in sweep.objectives] if measured.keys() >= sweep.objectives.keys() else None
