"""What a finished run came to."""

from typing import Any

import torch

from difflut.models import load_checkpoint, read_checkpoint
from difflut.training import evaluate, predict, table_statistics
from experiments import plots
from experiments.costs import estimated_cost
from experiments.data import Dataset
from experiments.runs import RunFolder
from experiments.tracking import Tracker


def measure(data: Dataset, folder: RunFolder, device: torch.device, run: Tracker) -> dict[str, Any]:
    """Measures the best epoch's network on the test set, and draws what the run came to."""
    model = load_checkpoint(folder.best, device)
    best_epoch = read_checkpoint(folder.best)["training"]["epoch"]
    scores = evaluate(model, data.x_test, data.y_test)
    gap = scores.pop("gap")

    pairs = data.y_test * data.num_classes + predict(model, data.x_test)
    confusion = pairs.bincount(minlength=data.num_classes**2).view(2 * (data.num_classes,)).cpu()
    metrics, tables = folder.metrics(), table_statistics(model)
    cost = estimated_cost(model, data.x_test)
    title = f"{data.name}: {scores['accuracy_hard']:.2%} on the test set with {cost['luts']:,} LUT6"
    for path in (
        plots.training_curves(metrics, folder.plots / "training.png"),
        plots.table_statistics(tables, folder.plots / "tables.png"),
        plots.summary_figure(metrics, confusion, data.class_names, tables, folder.plots / "summary.png", title),
    ):
        run.log_image(path.stem, path)
    seconds = sum(row["seconds"] for row in metrics)
    return {
        "best_epoch": best_epoch,
        "train_seconds": seconds,
        **{f"test_{key}": value for key, value in scores.items()},
        "gap": gap,
        **cost,
    }
