"""The training job."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut.config import configurable, job, operative_config
from difflut.models import LUTNetwork, describe, load_checkpoint, read_checkpoint, save_checkpoint
from difflut.training import Trainer, evaluate, predict, table_statistics
from experiments import plots
from experiments.data import Dataset, load_dataset
from experiments.progress import ProgressBar
from experiments.runs import RunFolder
from experiments.tracking import Tracker, tracker

dataset = configurable("dataset")(load_dataset)
tracking = configurable("tracking")(tracker)


@job
def train(
    network: Callable[..., LUTNetwork],
    optimizer: Callable[..., Optimizer],
    schedule: Callable[..., LRScheduler] | None = None,
    epochs: int = 20,
    batch_size: int = 128,
    seed: int = 0,
    device: str = "auto",
    runs: str = "runs",
    name: str = "train",
    resume: str | None = None,
    upload_checkpoint: bool = False,
    graph: bool = False,
) -> dict[str, Any]:
    """Trains a network and reports the hard test accuracy of the epoch that was best on validation data.

    Args:
        network: Makes the network from `input_shape`, `num_classes` and `seed`.
        optimizer: Makes the optimizer of the parameters.
        schedule: Makes the schedule of the optimizer for `epochs`.
        epochs: Of the whole run, those before `resume` included.
        batch_size: Samples in a step.
        seed: Decides wiring, start, order of the samples, validation split and noise.
        device: "auto" takes a GPU where there is one.
        runs: The folder of run folders.
        name: Begins the run folder's name.
        resume: A run folder, to continue its run.
        upload_checkpoint: Whether tracking keeps the best checkpoint as an artifact.
        graph: Whether steps on a GPU are replays of a CUDA graph, which is quicker.

    Returns:
        The content of the run's result.json.
    """
    torch.manual_seed(seed)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    data = dataset(seed=seed)
    model = network(input_shape=data.feature_shape, num_classes=data.num_classes, seed=seed)
    model.encoder.fit(data.x_train)
    data = data.to(device) if _num_bytes(data) < _free_memory(device) / 2 else data
    trainer = Trainer(
        model.to(device),
        data.x_train,
        data.y_train,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule and (lambda made: schedule(made, epochs=epochs)),
        seed=seed,
        graph=graph,
    )
    folder = _continued(trainer, RunFolder.open(resume)) if resume else RunFolder.create(runs, name)
    with tracking(folder=folder.path, config={"seed": seed, "epochs": epochs, **describe(model)}) as run:
        if not resume:
            folder.write_config(operative_config())
        print(
            f"{data.name}: {len(data.x_train)} training rows, {model.num_luts} LUTs, {device}, {folder.path}",
            flush=True,
        )
        try:
            _fit(trainer, data, epochs, folder, run)
        except KeyboardInterrupt:
            print(f"\ninterrupted; continue with --gin_param 'train.resume = \"{folder.path}\"'", file=sys.stderr)
            raise
        result = {"dataset": data.name, "seed": seed, "epochs": epochs, "luts": model.num_luts}
        result |= _test(data, folder, device, run)
        folder.write_result(result)
        if upload_checkpoint:
            run.log_artifact(folder.best, name=f"{name}-checkpoint", type="model")
        run.finish(result)
    print(
        f"test, best epoch {result['best_epoch']}: hard {result['test_accuracy_hard']:.2%}, "
        f"relaxed {result['test_accuracy_relaxed']:.2%}, gap {result['gap']:+.2%}, seed {seed}, "
        f"{result['train_seconds']:.1f} s of training"
    )
    return result


def _fit(trainer: Trainer, data: Dataset, epochs: int, folder: RunFolder, run: Tracker) -> None:
    """Trains the epochs that are left; each ends with its metrics and a checkpoint written."""
    best = max(map(_merit, folder.metrics()), default=-1.0)
    if trainer.epoch == 0:
        _save(trainer, folder.last)
    while trainer.epoch < epochs:
        with ProgressBar(f"epoch {trainer.epoch + 1}/{epochs}", trainer.steps_per_epoch) as bar:
            row = {"epoch": trainer.epoch + 1, **trainer.run_epoch(bar.update)}
            if len(data.x_val):
                scores = evaluate(trainer.model, data.x_val, data.y_val)
                row |= {"gap": scores.pop("gap"), **{f"val_{key}": value for key, value in scores.items()}}
            bar.summarize(row)
        folder.append_metrics(row)
        run.log(row, step=trainer.epoch)
        if _merit(row) > best:
            best = _merit(row)
            _save(trainer, folder.best)
        _save(trainer, folder.last)


def _merit(row: Mapping[str, float]) -> float:
    # Without validation rows there is nothing to choose by, and the last epoch is taken.
    return row.get("val_accuracy_hard", row["epoch"])


def _save(trainer: Trainer, path: Path) -> None:
    save_checkpoint(trainer.model, path, training=trainer.state_dict())


def _continued(trainer: Trainer, folder: RunFolder) -> RunFolder:
    """Puts a trainer where the folder's run stopped.

    Raises:
        ValueError: The run trained another network.
    """
    checkpoint = read_checkpoint(folder.last)
    difference = _first_difference(describe(trainer.model), checkpoint["config"])
    if difference:
        raise ValueError(f"{folder.path}: cannot be continued with this configuration: {difference}")
    trainer.model.load_state_dict(checkpoint["state"])
    trainer.load_state_dict(checkpoint["training"])
    folder.forget_after(trainer.epoch)
    return folder


def _first_difference(now: Any, then: Any, path: str = "network") -> str | None:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        pairs = ((f"{path}.{key}", now.get(key), then.get(key)) for key in {**now, **then})
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        pairs = ((f"{path}[{i}]", *pair) for i, pair in enumerate(zip(now, then, strict=True)))
    else:
        return None if now == then else f"{path} is {now}, the run has {then}"
    return next(filter(None, (_first_difference(a, b, where) for where, a, b in pairs)), None)


def _test(data: Dataset, folder: RunFolder, device: torch.device, run: Tracker) -> dict[str, Any]:
    """Measures the best epoch's network on the test set, and draws what the run came to."""
    model = load_checkpoint(folder.best, device)
    best_epoch = read_checkpoint(folder.best)["training"]["epoch"]
    scores = evaluate(model, data.x_test, data.y_test)
    gap = scores.pop("gap")

    pairs = data.y_test * data.num_classes + predict(model, data.x_test)
    confusion = pairs.bincount(minlength=data.num_classes**2).view(2 * (data.num_classes,)).cpu()
    metrics, tables = folder.metrics(), table_statistics(model)
    title = f"{data.name}: {scores['accuracy_hard']:.2%} on the test set with {model.num_luts} LUTs"
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
    }


def _num_bytes(data: Dataset) -> int:
    return sum(x.nbytes for x in (data.x_train, data.x_val, data.x_test))


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
