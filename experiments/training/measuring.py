"""The results of a finished run, in numbers and in pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from difflut.circuits import Circuit
from difflut.models import LUTNetwork, read_checkpoint
from difflut.training import evaluate, predict, table_statistics
from experiments.data import Dataset
from experiments.runs import RunFolder
from experiments.shared.costs import estimated_cost
from experiments.shared.failures import optional
from experiments.training import plots
from experiments.training.tracking import Tracker


def measure(model: LUTNetwork, data: Dataset, folder: RunFolder, counts_luts: bool) -> dict[str, Any]:
    """Measures the best epoch's network on the test set.

    Args:
        model: Network on the device of the data, or on another one.
        folder: Folder of the run.
        counts_luts: Whether its cost in hardware is estimated, too.
    """
    epoch = read_checkpoint(folder.best)["training"]["epoch"]
    return {"best_epoch": epoch} | scored(model, data, folder.metrics(), counts_luts)


def scored(
    model: LUTNetwork, data: Dataset, metrics: Sequence[Mapping[str, Any]], counts_luts: bool = True
) -> dict[str, Any]:
    """What a network has on the test set and costs, and what the epochs took in which it was trained."""
    scores = evaluate(model, data.x_test, data.y_test)
    gap = scores.pop("gap")
    result = {
        "train_seconds": sum(row["seconds"] for row in metrics),
        "cpu_seconds": sum(row["cpu_seconds"] for row in metrics),
        "peak_bytes": max(row["peak_bytes"] for row in metrics),
        **{f"test_{key}": value for key, value in scores.items()},
        "gap": gap,
    }
    if counts_luts:
        with optional("cost in hardware"):
            result |= estimated_cost(Circuit.from_model(model.cpu()), data.x_test)
    return result


def draw(model: LUTNetwork, data: Dataset, result: Mapping[str, Any], folder: RunFolder, run: Tracker) -> None:
    """Draws what the run came to; a picture that cannot be drawn is told in a line."""
    metrics = folder.metrics()

    def curves(path: Path) -> None:
        plots.training_curves(metrics, path)

    def tables(path: Path) -> None:
        plots.table_statistics(table_statistics(model), path)

    def summary(path: Path) -> None:
        pairs = data.y_test * data.num_classes + predict(model, data.x_test)
        confusion = pairs.bincount(minlength=data.num_classes**2).view(2 * (data.num_classes,)).cpu()
        cost = f" with {result['luts']:,} LUT6" if "luts" in result else ""
        title = f"{data.name}: {result['test_accuracy_hard']:.2%} on the test set{cost}"
        plots.summary_figure(metrics, confusion, data.class_names, table_statistics(model), path, title)

    for name, picture in {"training": curves, "tables": tables, "summary": summary}.items():
        with optional(f"plots/{name}.png"):
            path = folder.plots / f"{name}.png"
            picture(path)
            run.log_image(name, path)
