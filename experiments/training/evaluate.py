"""The evaluation job."""

import time
from typing import Any

from difflut.config import ConfigurationError
from difflut.models import LUTNetwork, load_checkpoint, read_checkpoint
from difflut.registry import register_job
from difflut.training import evaluate as scores_of
from difflut.training import predict
from experiments.data import Dataset, dataset
from experiments.shared.arguments import configured, device_named


@register_job("evaluate")
def evaluate(checkpoint: str, device: str = "auto") -> dict[str, Any]:
    """Measures a checkpoint on the test set that `dataset.name` says.

    Args:
        checkpoint: Path of a checkpoint, such as `runs/NAME/best.pt`.
        device: "auto" takes a GPU where there is one.

    Returns:
        Hard and relaxed accuracy, the gap, and hard samples per second.
    """
    with configured():
        torch_device = device_named("evaluate.device", device)
        model = load_checkpoint(checkpoint, torch_device)
        data = dataset().to(torch_device)
        _check_meaning(checkpoint, model, data)
        predict(model, data.x_test[:1])  # data of another shape fail here
    scores = scores_of(model, data.x_test, data.y_test)
    start = time.perf_counter()
    predict(model, data.x_test).cpu()
    scores["samples_per_second"] = len(data.x_test) / (time.perf_counter() - start)
    print(
        f"{data.name}: hard {scores['accuracy_hard']:.2%}, relaxed {scores['accuracy_relaxed']:.2%}, "
        f"gap {scores['gap']:+.2%}, {scores['samples_per_second']:,.0f} samples/s"
    )
    return scores


def _check_meaning(checkpoint: str, model: LUTNetwork, data: Dataset) -> None:
    """Refuses a data set that means something else than the one that the checkpoint was trained on."""
    if model.groupsum is not None and model.groupsum.k != data.num_classes:
        raise ConfigurationError(
            f"{checkpoint}: the network has {model.groupsum.k} classes, {data.name} has {data.num_classes}"
        )
    trained = (read_checkpoint(checkpoint)["training"] or {}).get("data") or {}
    for key, here in data.meaning.items():
        if key in trained and trained[key] != here:
            raise ConfigurationError(f"{checkpoint}: trained on {key} {trained[key]}; {data.name} has {here}")
