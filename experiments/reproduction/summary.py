"""The results of a reproduction over its seeds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.shared.costs import PARTS, in_words

RESULT = "reproduction.json"  # in the reproduction's folder


def summarized(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The results of all seeds, as reproduction.json has them: a list over seeds for each figure, in percent."""
    first = results[0]
    return {
        **{key: first[key] for key in ("dataset", "epochs", "tables")},
        "seeds": [result["seed"] for result in results],
        "hard": [100 * result["test_accuracy_hard"] for result in results],
        "gap": [100 * result["gap"] for result in results],
        **{key: [result[key] for result in results] for key in ("luts", *PARTS)},
        "circuit_rows": [result["circuit_rows"] for result in results],
        "seconds": [result["train_seconds"] for result in results],
        "device": ", ".join(sorted({result["device"] for result in results})),
    }


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the sample's standard deviation, 0 for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def mean_cost(summary: Mapping[str, Any]) -> dict[str, int]:
    """The cost of a reproduction's networks, as in a result.json: the mean over seeds."""
    return {key: round(statistics.fmean(summary[key])) for key in ("luts", *PARTS)}


def summary_in_words(summary: dict[str, Any]) -> str:
    """What was measured, and how it compares with what was published, in a line."""
    mean, deviation = mean_and_deviation(summary["hard"])
    parts = [f"measured {mean:.2f} ± {deviation:.2f} % ({len(summary['seeds'])} seeds)"]
    if summary["published"] is not None:
        parts += [f"published {summary['published']:.2f} %", f"difference {mean - summary['published']:+.2f}"]
    if summary["goal"] is not None:
        parts.append(f"goal {summary['goal']:.2f} % {'reached' if mean >= summary['goal'] else 'missed'}")
    parts += [f"gap {statistics.fmean(summary['gap']):+.2f}", in_words(mean_cost(summary))]
    parts.append(f"{statistics.fmean(summary['seconds']):.0f} s a seed on {summary['device']}")
    return f"{summary['name']}: {', '.join(parts)}"
