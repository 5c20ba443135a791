"""The training job."""

import inspect
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut.circuits import Circuit, simplify
from difflut.config import configurable, job, operative_config
from difflut.models import LUTNetwork, describe, load_checkpoint, read_checkpoint, save_checkpoint
from difflut.training import Teacher, Trainer, evaluate, predict, table_statistics
from experiments import plots
from experiments.data import Dataset, load_dataset
from experiments.progress import ProgressBar
from experiments.runs import RunFolder, TrialRun
from experiments.tracking import Tracker, tracker

dataset = configurable("dataset")(load_dataset)
tracking = configurable("tracking")(tracker)

QUICKLY_SIMPLIFIED = 10_000


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
    loss: Callable[..., Tensor] = cross_entropy,
    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    teacher: Callable[..., Teacher] | None = None,
    checkpoint_seconds: float | None = 0.0,
    dry_run: bool = False,
    trial: TrialRun | None = None,
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
        loss: Of logits and class indices and, with a teacher, its logits.
        augmentation: Changes the training inputs at the start of each epoch.
        teacher: Makes an ordinary network from `x`, `y`, `num_classes` and `device`, which the loss distils; with
            `epochs=0` an untrained one, for the run's own teacher to be loaded.
        checkpoint_seconds: How far a kill may throw the run back; 0 writes `last.pt` after each epoch, None never.
        dry_run: Whether to build everything, train nothing, and return the network's size.
        trial: Set by a sweep, whose trial the run is.

    Returns:
        The content of the run's result.json; for a dry run `nodes`, `parameters` and `epochs`.
    """
    _check_pairing(loss, teacher)
    torch.manual_seed(seed)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    data = dataset(seed=seed)
    model = network(input_shape=data.feature_shape, num_classes=data.num_classes, seed=seed)
    if dry_run:
        made = optimizer(model.parameters())
        _ = schedule and schedule(made, epochs=epochs)
        return {"nodes": model.num_luts, "parameters": model.num_parameters, "epochs": epochs}
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
        loss=loss,
        augmentation=augmentation,
    )
    trial = trial or TrialRun(None if resume else RunFolder.create(runs, name))
    folder = _continued(trainer, RunFolder.open(resume)) if resume else trial.folder
    trainer.samples.teacher = teacher and _educated(teacher, data, device, folder.teacher)
    shown = {"seed": seed, "epochs": epochs, **describe(model), **trial.values}
    with tracking(folder=folder.path, config=shown, **trial.tracking) as run:
        if not resume:
            folder.forget_after(0)
            folder.write_config(operative_config())
        print(
            f"{data.name}: {len(data.x_train)} training rows, {model.num_luts} LUTs, {device}, {folder.path}",
            flush=True,
        )
        try:
            _fit(trainer, data, epochs, folder, run, checkpoint_seconds, trial.report)
        except KeyboardInterrupt:
            if folder.last.exists():
                print(f"\ninterrupted; continue with --gin_param 'train.resume = \"{folder.path}\"'", file=sys.stderr)
            raise
        result = {"dataset": data.name, "seed": seed, "epochs": epochs, "luts": model.num_luts}
        result["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
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


def _check_pairing(loss: Callable[..., Tensor], teacher: Callable[..., Teacher] | None) -> None:
    """Refuses a loss that needs a teacher without one, and a teacher to whom the loss does not listen."""
    required = [p for p in inspect.signature(loss).parameters.values() if p.default is p.empty]
    if len(required) > 2 and teacher is None:
        raise ValueError(f"the loss {loss.__name__} needs a teacher: add train.teacher = @teachers.trained")
    if len(required) < 3 and teacher is not None:
        raise ValueError(f"the loss {loss.__name__} has no use for a teacher: add train.loss = @losses.distillation")


def _educated(teacher: Callable[..., Teacher], data: Dataset, device: torch.device, path: Path) -> Teacher:
    """The teacher of a run, which its folder keeps; it is trained where there is none yet."""
    untrained = {"epochs": 0} if path.exists() else {}
    made = teacher(x=data.x_train, y=data.y_train, num_classes=data.num_classes, device=device, **untrained)
    if untrained:
        made.load_state_dict(torch.load(path, device, weights_only=True))
    else:
        temporary = path.with_suffix(".tmp")
        torch.save(made.state_dict(), temporary)
        os.replace(temporary, path)
    if len(data.x_val):
        with torch.no_grad():
            classes = torch.cat([made(x.to(device)).argmax(1).cpu() for x in data.x_val.split(1000)])
        right = (classes == data.y_val.cpu()).sum().item() / len(classes)
        print(f"teacher: {right:.2%} of the validation rows", flush=True)
    return made


def _fit(
    trainer: Trainer,
    data: Dataset,
    epochs: int,
    folder: RunFolder,
    run: Tracker,
    pause: float | None,
    report: Callable[[Mapping[str, float]], None],
) -> None:
    """Trains the epochs that are left; each ends with its metrics written, and a checkpoint every `pause` seconds."""
    best, saved = max(map(_merit, folder.metrics()), default=-1.0), time.monotonic()
    pause = math.inf if pause is None else pause
    if trainer.epoch == 0 and pause < math.inf:
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
        is_last, now = trainer.epoch == epochs, time.monotonic()
        is_due = now - saved >= pause or (is_last and pause < math.inf)
        if _merit(row) > best and (len(data.x_val) or is_due or is_last):
            best = _merit(row)
            save_checkpoint(trainer.model, folder.best, training={"epoch": trainer.epoch})
        if is_due:
            _save(trainer, folder.last)
            saved = now
        report(row)


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
        **_circuit_size(model),
    }


def _circuit_size(model: LUTNetwork) -> dict[str, int]:
    """The LUTs of the optimised circuit, for networks of which they are counted in a moment."""
    if model.num_luts > QUICKLY_SIMPLIFIED:
        return {}
    return {"circuit_luts": simplify(Circuit.from_model(model.cpu()))[0].num_luts}


def _num_bytes(data: Dataset) -> int:
    return sum(x.nbytes for x in (data.x_train, data.x_val, data.x_test))


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
