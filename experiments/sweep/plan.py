"""From dimensions and conditions to the configurations of trials."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from difflut.config import ConfigurationError
from experiments.sweep.space import Choice, Dimension, gin_text

SEED = "train.seed"
DRAWS_PER_TRIAL = 1000


@dataclass(frozen=True)
class Point:
    """One trial of the plan: for each dimension the text of its value, and all that it binds."""

    values: Mapping[str, str]
    bindings: Mapping[str, str]

    def trial(self, size: Mapping[str, int]) -> dict[str, Any]:
        """The point as `Sweep.add` takes it."""
        return {"values": dict(self.values), "bindings": dict(self.bindings), **size}

    def __str__(self) -> str:
        return ", ".join(f"{label} = {value}" for label, value in self.values.items())


class Plan:
    """The trials that dimensions and conditions allow.

    Args:
        dimensions: Dimensions by label.
        conditions: Dictionaries of `if` and of `set` or `only`; see `experiments.sweep.ablate.ablate`.

    Raises:
        ConfigurationError: A condition has another form, or names a dimension that does not exist.
    """

    def __init__(self, dimensions: Mapping[str, Dimension], conditions: Sequence[Mapping[str, Any]]) -> None:
        self.dimensions, self.conditions = dimensions, conditions
        for condition in conditions:
            if not _is_condition(condition):
                raise ConfigurationError(
                    "a condition has the keys 'if' and 'set', or 'if' and 'only', each with a dictionary; "
                    f"got {condition!r}"
                )
            for label in {**condition["if"], **condition.get("only", {})}:
                if label not in dimensions:
                    raise ConfigurationError(
                        f"condition {condition!r}: no dimension is called {label!r}; there are {', '.join(dimensions)}"
                    )
            for label, values in {**condition["if"], **condition.get("only", {})}.items():
                for value in _as_list(values):
                    dimensions[label].choice(value)

    @property
    def description(self) -> dict[str, list[str]]:
        """The values of each dimension as text."""
        return {label: dimension.description for label, dimension in self.dimensions.items()}

    @property
    def seed_dimension(self) -> str | None:
        return SEED if SEED in self.dimensions else None

    def grid(self, max_trials: int | None, seed: int) -> list[Point]:
        """All combinations, the seeds outermost; where they are too many, a random part with all seeds of each."""
        dimensions, seeds = self._without_seeds()
        choices = itertools.product(*(dimension.choices for dimension in dimensions.values()))
        return self._with_seeds(
            (dict(zip(dimensions, chosen, strict=True)) for chosen in choices), seeds, max_trials, seed
        )

    def random(self, max_trials: int, seed: int) -> list[Point]:
        """So many trials drawn at random, none twice, each with all seeds."""
        dimensions, seeds = self._without_seeds()
        random = Random(seed)
        draws = (
            {label: dimension.sample(random) for label, dimension in dimensions.items()}
            for _ in range(DRAWS_PER_TRIAL * max_trials)
        )
        count = max(max_trials // len(seeds), 1)
        distinct = itertools.islice(self._distinct(draws, seeds[0]), count)
        return self._with_seeds((chosen for chosen, _ in distinct), seeds, max_trials, seed)

    def point(self, chosen: Mapping[str, Choice]) -> Point | None:
        """The trial of these choices after all conditions; None where one of them forbids it."""
        chosen, extra = dict(chosen), {}
        for condition in self.conditions:
            if not self._hold(condition["if"], chosen):
                continue
            if not self._hold(condition.get("only", {}), chosen):
                return None
            for name, value in condition.get("set", {}).items():
                if name in self.dimensions:
                    chosen[name] = self.dimensions[name].choice(value)
                else:
                    extra[name] = gin_text(value)
        bindings = {name: text for choice in chosen.values() for name, text in choice.bindings.items()}
        return Point({label: choice.label for label, choice in chosen.items()}, bindings | extra)

    @staticmethod
    def _hold(condition: Mapping[str, Any], chosen: Mapping[str, Choice]) -> bool:
        return all(any(map(chosen[label].matches, _as_list(values))) for label, values in condition.items())

    def _without_seeds(self) -> tuple[dict[str, Dimension], list[dict[str, Choice]]]:
        seeds = self.dimensions[SEED].choices if SEED in self.dimensions else []
        rest = {label: dimension for label, dimension in self.dimensions.items() if label != SEED}
        return rest, [{SEED: seed} for seed in seeds] or [{}]

    def _distinct(
        self, choices: Iterable[dict[str, Choice]], seed: dict[str, Choice]
    ) -> Iterator[tuple[dict[str, Choice], Point]]:
        """The choices that conditions allow; the first one of several that conditions make equal."""
        seen = set()
        for chosen in choices:
            point = self.point(chosen | seed)
            key = point and frozenset(point.bindings.items())
            if point and key not in seen:
                seen.add(key)
                yield chosen, point

    def _with_seeds(
        self,
        choices: Iterable[dict[str, Choice]],
        seeds: Sequence[dict[str, Choice]],
        max_trials: int | None,
        seed: int,
    ) -> list[Point]:
        kept = [chosen for chosen, _ in self._distinct(choices, seeds[0])]
        if max_trials is not None and len(kept) * len(seeds) > max_trials:
            number = max(max_trials // len(seeds), 1)
            kept = [kept[i] for i in sorted(Random(seed).sample(range(len(kept)), min(number, len(kept))))]
        points = [self.point(chosen | value) for value in seeds for chosen in kept]
        if not any(points):
            raise ConfigurationError("the conditions leave no trial")
        return [point for point in points if point][:max_trials]


def _is_condition(condition: Any) -> bool:
    if not isinstance(condition, Mapping) or set(condition) not in ({"if", "set"}, {"if", "only"}):
        return False
    return all(isinstance(part, Mapping) for part in condition.values())


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]
