"""The end of a run: its best network is measured, and what it came to is written, drawn and told."""

from typing import Any

import torch

from difflut.models import load_checkpoint
from experiments.data import Dataset
from experiments.runs import RunFolder
from experiments.shared.costs import in_words, size_of
from experiments.training.measuring import draw, measure
from experiments.training.record import Record
from experiments.training.tracking import Tracker


def conclude(
    known: dict[str, Any], record: Record, data: Dataset, device: torch.device, folder: RunFolder, run: Tracker
) -> dict[str, Any]:
    """Measures the best network and returns the content of the run's result.json.

    Args:
        known: What is known of the run before; comes first.
    """
    best = load_checkpoint(folder.best, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    result = known | size_of(best) | {"device": name} | measure(best, data, folder, record.count_luts)
    folder.write_result(result)
    draw(best.to(device), data, result, folder, run)
    if record.upload_checkpoint:
        run.log_artifact(folder.best, name=f"{record.name}-checkpoint", type="model")
    run.finish(result)
    print(
        f"test, best epoch {result['best_epoch']}: hard {result['test_accuracy_hard']:.2%}, "
        f"relaxed {result['test_accuracy_relaxed']:.2%}, gap {result['gap']:+.2%}, seed {result['seed']}, "
        f"{result['train_seconds']:.1f} s of training, {in_words(result)}"
    )
    return result
