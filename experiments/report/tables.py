"""The tables of a report, for a terminal, as CSV and as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.report.effects import Effect
from experiments.report.outcomes import ACCURACY, VALIDATION, Configuration, Outcome
from experiments.shared.tables import MISSING, Table, csv_text

EXPORT = "python run.py --gin_file gin_configs/export.gin --gin_param 'export.run = \"{}\"'"


@dataclass(frozen=True)
class Score:
    """A number that a table shows.

    Args:
        key: Its name in `Outcome.scores`.
        title: Title of its column, the unit included.
        scale: Factor by which it is multiplied to be in that unit.
        digits: Digits shown behind the point.
    """

    key: str
    title: str
    scale: float = 1.0
    digits: int = 0

    def show(self, value: float | None, sign: str = "") -> str:
        return MISSING if value is None else f"{self.scale * value:{sign},.{self.digits}f}"

    def show_spread(self, configuration: Configuration) -> str:
        """Mean ± standard deviation; a single run has no deviation."""
        mean, deviation = _mean(configuration, self.key), configuration.deviation(self.key)
        return self.show(mean) + (f" ± {self.show(deviation)}" if deviation is not None else "")


HARD = Score(ACCURACY, "hard accuracy, %", 100, 2)
VALIDATED = Score(VALIDATION, "on validation rows, %", 100, 2)
LUTS = Score("luts", "LUT6, encoder included")
TABLES = Score("tables", "tables")
GAP = Score("gap", "gap, points", 100, 2)
SECONDS = Score("train_seconds", "training, s", digits=1)


def configuration_table(ranked: Sequence[Configuration], scores: Sequence[Score]) -> Table:
    """The ranking: each configuration's values, finished seeds of those planned, and scores over seeds."""
    labels = list(ranked[0].values)
    rows = [
        [
            str(rank),
            *configuration.values.values(),
            f"{len(configuration.finished)}/{configuration.planned}",
            *(s.show_spread(configuration) for s in scores),
        ]
        for rank, configuration in enumerate(ranked, start=1)
    ]
    titles = ["", *labels, "seeds", *(score.title for score in scores)]
    return Table(titles, rows, frozenset({0, *range(1 + len(labels), len(titles))}))


def front_table(front: Sequence[Configuration], scores: Sequence[Score], folder: Path) -> Table:
    """The Pareto front, the cheapest first, and the command that carries a member to hardware.

    Args:
        folder: Folder of the trials.
    """
    labels = list(front[0].values)
    rows = [
        [
            *configuration.values.values(),
            *(score.show_spread(configuration) for score in scores),
            EXPORT.format(folder / _best(configuration).id),
        ]
        for configuration in front
    ]
    titles = [*labels, *(score.title for score in scores), "to export"]
    return Table(titles, rows, frozenset(range(len(labels), len(titles) - 1)))


def _best(configuration: Configuration) -> Outcome:
    """The run with the most validation rows right, so that the test set chooses nothing."""
    return max(configuration.finished, key=lambda run: run.scores.get(VALIDATION, 0.0))


def effect_table(effects: Sequence[Effect]) -> Table:
    """The effects of one dimension, in percentage points."""
    points = Score("", "", 100, 2)
    rows = [
        [
            effect.value,
            "reference" if effect.value == effect.reference else points.show(effect.mean, "+"),
            points.show(effect.error),
            str(len(effect.differences)),
            str(effect.better),
        ]
        for effect in effects
    ]
    titles = [
        effects[0].dimension,
        f"difference to {effects[0].reference}, points",
        "standard error",
        "runs" if effects[0].fitted else "pairs",
        "better",
    ]
    return Table(titles, rows, frozenset({1, 2, 3, 4}))


def unfinished_table(outcomes: Iterable[Outcome], status: str) -> Table | None:
    """The trials of a status with how far they came, and why no further; None if there are none."""
    unfinished = [outcome for outcome in outcomes if outcome.status == status]
    if not unfinished:
        return None
    rows = [
        [
            outcome.id,
            *outcome.values.values(),
            outcome.seed or MISSING,
            str(len(outcome.curve)),
            HARD.show(max((row[VALIDATION] for row in outcome.curve if VALIDATION in row), default=None)),
            outcome.reason or "",
        ]
        for outcome in unfinished
    ]
    return Table(["trial", *unfinished[0].values, "seed", "epochs", "best validation, %", "reason"], rows)


def configurations_csv(ranked: Sequence[Configuration], scores: Sequence[Score]) -> str:
    """Means and standard deviations in plain units, one line a configuration."""
    return csv_text(
        {
            "rank": rank,
            **configuration.values,
            "finished": len(configuration.finished),
            "planned": configuration.planned,
            **{f"{score.key}_mean": _mean(configuration, score.key) for score in scores},
            **{f"{score.key}_std": configuration.deviation(score.key) for score in scores},
        }
        for rank, configuration in enumerate(ranked, start=1)
    )


def trials_csv(outcomes: Sequence[Outcome]) -> str:
    """All trials, whatever became of them, with every score."""
    keys = dict.fromkeys(key for outcome in outcomes for key in outcome.scores if key != "seed")
    return csv_text(
        {
            "trial": outcome.id,
            **outcome.values,
            "seed": outcome.seed,
            "status": outcome.status,
            "reason": outcome.reason,
        }
        | {key: outcome.scores.get(key) for key in keys}
        for outcome in outcomes
    )


def effects_csv(effects: Iterable[Effect]) -> str:
    """The effects of all dimensions, in plain units."""
    return csv_text(
        {
            "dimension": effect.dimension,
            "value": effect.value,
            "reference": effect.reference,
            "difference_mean": effect.mean,
            "standard_error": effect.error,
            "method": "fit" if effect.fitted else "pairs",
            "differences": len(effect.differences),
            "better": effect.better,
        }
        for effect in effects
    )


def _mean(configuration: Configuration, key: str) -> float | None:
    return configuration.mean(key) if configuration.scores(key) else None
