"""The results of a reproduction over its seeds."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.shared.costs import PARTS, SIZES, USED, in_words

RESULT = "reproduction.json"  # in the reproduction's folder
COSTS = ("luts", *PARTS, "simplified")


def summarized(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The results of all seeds, as reproduction.json has them: a list over seeds for each figure, in percent."""
    first = results[0]
    return {
        **{key: first[key] for key in ("dataset", "epochs", *SIZES)},
        "seeds": [result["seed"] for result in results],
        "hard": [100 * result["test_accuracy_hard"] for result in results],
        "gap": [100 * result["gap"] for result in results],
        **{key: [result[key] for result in results] for key in COSTS},
        "circuit_rows": [result["circuit_rows"] for result in results],
        **{key.removeprefix("train_"): [result[key] for result in results] for key in USED},
        "device": ", ".join(sorted({result["device"] for result in results})),
    }


def accuracy_in_words(values: Sequence[float]) -> str:
    """The mean, and the sample's standard deviation where there are several values."""
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def mean_cost(summary: Mapping[str, Any]) -> dict[str, int]:
    """The cost of a reproduction's networks, as in a result.json: the mean over seeds."""
    return {key: round(statistics.fmean(summary[key])) for key in COSTS}


def summary_in_words(summary: dict[str, Any]) -> str:
    """What was measured, and how it compares with what was published, in a line."""
    mean, seeds = statistics.fmean(summary["hard"]), len(summary["seeds"])
    parts = [f"measured {accuracy_in_words(summary['hard'])} % ({seeds} seed{'s' * (seeds > 1)})"]
    if summary["published"] is not None:
        parts += [f"published {summary['published']:.2f} %", f"difference {mean - summary['published']:+.2f}"]
    if summary["goal"] is not None:
        parts.append(f"goal {summary['goal']:.2f} % {'reached' if mean >= summary['goal'] else 'missed'}")
    parts += [f"gap {statistics.fmean(summary['gap']):+.2f}", in_words(mean_cost(summary))]
    parts += [size_in_words(summary), f"{time_in_words(summary)} a seed"]
    return f"{summary['name']}: {', '.join(parts)}"


def size_in_words(summary: Mapping[str, Any]) -> str:
    """Tables, look-ups for a sample, and bits of tables and wiring."""
    return f"{summary['tables']:,} tables, {summary['lookups']:,} look-ups a sample, {summary['bits']:,} bits of state"


def time_in_words(summary: Mapping[str, Any]) -> str:
    """What one training took on its device: seconds, on a CPU those of all its cores too, and the most memory."""
    spent = {key: statistics.fmean(summary[key]) for key in ("seconds", "cpu_seconds", "peak_bytes")}
    cores = f" ({spent['cpu_seconds']:,.0f} CPU s)" if summary["device"] == "CPU" else ""
    memory = f"{spent['peak_bytes'] / 2**30:.3g} GiB"
    return f"{spent['seconds']:,.0f} s{cores} and {memory} on {summary['device']}"
