"""The training job."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut.config import ConfigurationError, configurable, operative_config, overridden, plain
from difflut.models import LUTNetwork, describe, load_checkpoint
from difflut.registry import register_job
from difflut.training import Teacher, Trainer
from difflut.training.area import Cost
from difflut.training.freezing import front_to_back
from difflut.training.losses import cross_entropy
from difflut.training.ranks import ALONE, Ranks
from difflut.training.refinement import Refinement
from experiments.data import Dataset, dataset, kept_rows
from experiments.runs import RunFolder, TrialRun
from experiments.shared.arguments import (
    check_effect,
    check_folder,
    check_name,
    check_seconds,
    check_seed,
    check_whole,
    configured,
)
from experiments.shared.costs import in_words, size_of
from experiments.training.fitting import fit
from experiments.training.foretelling import foretell
from experiments.training.group import joined
from experiments.training.measuring import draw, measure
from experiments.training.resuming import proceed, resuming_command
from experiments.training.starting import processes_wanted, run_together
from experiments.training.teaching import check_first_call, check_pairing, educated
from experiments.training.tracking import Tracker, tracker
from experiments.training.workers import run_on_cluster

tracking = configurable("tracking")(tracker)


@register_job("train")
def train(
    network: Callable[..., LUTNetwork],
    optimizer: Callable[..., Optimizer],
    schedule: Callable[..., LRScheduler] | None = None,
    epochs: int = 20,
    batch_size: int = 128,
    seed: int = 0,
    device: str = "auto",
    devices: int | str = 1,
    workers: int | None = None,
    runs: str = "runs",
    name: str = "train",
    resume: str | None = None,
    upload_checkpoint: bool = False,
    graph: bool = False,
    loss: Callable[..., Tensor] = cross_entropy,
    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    teacher: Callable[..., Teacher] | None = None,
    refinement: Callable[..., Refinement] | None = None,
    refined_epochs: int = 0,
    freezing: tuple[float, float] | None = None,
    cost: Callable[..., Cost] | None = None,
    wiring_epochs: int | None = None,
    redraw_epochs: int | None = None,
    checkpoint_seconds: float | None = 0.0,
    dry_run: bool = False,
    trial: TrialRun | None = None,
) -> dict[str, Any]:
    """Trains a network and reports the hard test accuracy of the epoch that was best on validation data.

    Of equally good epochs that is the last one. With fewer than 100 validation rows the last epoch of all is taken.

    Args:
        network: Function that makes the network from `input_shape`, `num_classes` and `seed`.
        optimizer: Function that makes the optimizer of the parameters.
        schedule: Function that makes the schedule of the optimizer for `epochs`.
        epochs: Epochs of the whole run, those before `resume` included.
        batch_size: Samples in a step, over all processes that train together.
        seed: Seed of wiring, start, order of the samples, validation split and noise.
        device: "auto" takes a GPU where there is one.
        devices: Devices of this machine that train the network together, each a part of every batch; "all" takes all
            GPUs. On a CPU it is the number of processes. What started this one by torchrun is stronger.
        workers: Of the Ray cluster at RAY_ADDRESS, or of this machine without it, that train the network together; when
            one dies all go on from the last checkpoint.
        runs: The folder of run folders.
        name: Beginning of the run folder's name.
        resume: A run folder, to continue its run as it was configured. Epochs, devices, graph, checkpoints and tracking
            may differ; more epochs have the schedule of the longer run. `config.gin` then says so.
        upload_checkpoint: Whether tracking keeps the best checkpoint as an artifact.
        graph: Whether steps are replays of a CUDA graph, or on a CPU of a recording, which is quicker (see `Trainer`).
        loss: Loss of logits and class indices and, with a teacher, its logits.
        augmentation: Changes the training inputs at the start of each epoch.
        teacher: Function that makes an ordinary network from `x`, `y`, `num_classes` and `device`, which the loss
            distils; with `epochs=0` an untrained one, for the run's own teacher to be loaded.
        refinement: Work that the last epochs do with the hard network instead of gradient steps.
        refined_epochs: Number of these last epochs; `epochs` includes them.
        freezing: Shares of the epochs after which the first layer is frozen and only the last one learns, such as
            `(0.4, 0.9)`; the others are frozen in between, in order. A frozen layer is exactly its tables.
        cost: What the network costs, as a term of the loss in gradient steps.
        wiring_epochs: Epochs in which wirings learn; from then on they are as good as fixed, and steps take as long as
            with fixed wirings.
        redraw_epochs: Epochs before which, but for the first, wirings draw half of their candidates anew: those of each
            pin with the smallest weights.
        checkpoint_seconds: Seconds by which a kill may throw the run back; 0 writes `last.pt` after each epoch, None
            never.
        dry_run: Whether to build everything, train nothing, and tell what would be trained: network, rows, steps and
            cost in hardware. The trial of a sweep tells nothing.
        trial: Set by a sweep, whose trial the run is.

    Returns:
        The content of the run's result.json, nothing where this process is not the first of several; for a dry run
        `network`, with its encoder as it was given, `tables`, `parameters`, `epochs` and `validation_rows`.
    """
    is_alone, trial = trial is None, trial or TrialRun(None)
    with configured():
        check_seed("train.seed", seed)
        check_name("train.name", name)
        if not (resume or trial.folder or dry_run):
            check_folder("train.runs", Path(runs))
        _check_numbers(epochs, checkpoint_seconds, wiring_epochs, redraw_epochs, refined_epochs, workers, devices)
        check_pairing(loss, teacher)
        _check_refinement(refinement, refined_epochs, epochs)
        if not dry_run and (count := processes_wanted(devices, device)) > 1:
            return run_together(count, trial, resume=resume)
        start_tracking = tracking(**trial.tracking)
    if workers is not None and not dry_run and not dist.is_initialized():
        with configured(), kept_rows({}) as rows:
            dataset(seed=seed)
            folder = _folder(resume, trial, runs, name)
        with _said_how_to_go_on(folder, ALONE):
            return run_on_cluster(workers, device, folder, rows)
    with ExitStack() as group:
        with configured():
            torch.manual_seed(seed)
            data = dataset(seed=seed)
            model = network(input_shape=data.feature_shape, num_classes=data.num_classes, seed=seed)
            make_trainer = partial(
                Trainer,
                batch_size=batch_size,
                optimizer=optimizer,
                schedule=schedule and partial(schedule, epochs=max(epochs - refined_epochs, 1)),
                seed=seed,
                graph=graph,
                loss=plain(loss),
                augmentation=augmentation,
                refinement=refinement,
                refined_from=epochs - refined_epochs,
                cost=cost,
                wiring_epochs=wiring_epochs,
                redraw_epochs=redraw_epochs,
                freezes=freezing and front_to_back(model.layers, epochs - refined_epochs, *freezing),
            )
            if dry_run:
                foreseen = make_trainer(model, data.x_train, data.y_train)
                check_first_call(loss, teacher, data)
                if is_alone:
                    _tell_overridden()
                    foretell(foreseen, data, epochs, refined_epochs)
                size = {"tables": model.num_luts, "parameters": model.num_parameters}
                return {"network": model, **size, "epochs": epochs, "validation_rows": len(data.x_val)}
            torch_device = group.enter_context(joined(device))
            data = _on_device(data, model, torch_device)
            trainer = make_trainer(model, data.x_train, data.y_train)
            _tell_overridden()  # before a call that gives what users bind
            check_first_call(loss, teacher, data)
            ranks = trainer.ranks
            folder = ranks.from_first(lambda: _folder(resume, trial, runs, name))
            if resume:
                proceed(trainer, folder, epochs)
        shown = {"seed": seed, "epochs": epochs, **describe(model), **trial.values}
        with start_tracking(folder.path, shown) if ranks.is_first else Tracker() as run:
            trainer.samples.teacher = teacher and educated(teacher, data, torch_device, folder.teacher, ranks)
            if not resume and ranks.is_first:
                folder.forget_after(0)
                folder.write_config(operative_config())
            _announce(trainer, data, folder)
            with _said_how_to_go_on(folder, ranks):
                fit(trainer, data, epochs, folder, run, checkpoint_seconds, trial.report)
                trainer.release()
                if not ranks.is_first:
                    return {}
                group.close()  # the first process goes on alone
                known = {"dataset": data.name, "seed": seed, "epochs": epochs, **size_of(model)}
                result = _conclude(known | _done_by(torch_device, ranks), data, torch_device, folder, run)
            if upload_checkpoint:
                run.log_artifact(folder.best, name=f"{name}-checkpoint", type="model")
            run.finish(result)
    _tell(result)
    return result


def _on_device(data: Dataset, model: LUTNetwork, device: torch.device) -> Dataset:
    """Moves the network, and the data where they fit, and fits the encoder to them."""
    data = data.to(device) if _num_bytes(data) < _free_memory(device) / 2 else data
    model.to(device)
    if model.encoder is not None:
        model.encoder.fit(data.x_train)
    return data


def _announce(trainer: Trainer, data: Dataset, folder: RunFolder) -> None:
    count, device = trainer.ranks.count, trainer.device
    where = device if count == 1 else f"{count} processes, {device.type}"
    size = f"{len(data.x_train)} training rows, {trainer.model.num_luts} tables"
    print(f"{data.name}: {size}, {where}, {folder.path}", flush=True)


def _tell(result: dict[str, Any]) -> None:
    print(
        f"test, best epoch {result['best_epoch']}: hard {result['test_accuracy_hard']:.2%}, "
        f"relaxed {result['test_accuracy_relaxed']:.2%}, gap {result['gap']:+.2%}, seed {result['seed']}, "
        f"{result['train_seconds']:.1f} s of training, {in_words(result)}"
    )


def _tell_overridden() -> None:
    for binding in overridden():
        if not binding.startswith(("train.", "tracking.")):  # a sweep gives these itself
            print(f"{binding} is bound to no effect: the job gives its own", flush=True)


def _conclude(
    known: dict[str, Any], data: Dataset, device: torch.device, folder: RunFolder, run: Tracker
) -> dict[str, Any]:
    """Measures the best network, writes what the run came to beside what is known of it, and draws it."""
    best = load_checkpoint(folder.best, device)
    result = known | measure(best, data, folder)
    folder.write_result(result)
    draw(best.to(device), data, result, folder, run)
    return result


def _done_by(device: torch.device, ranks: Ranks) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"device": name, "processes": ranks.count}


def _folder(resume: str | None, trial: TrialRun, runs: str, name: str) -> RunFolder:
    return RunFolder.open(resume) if resume else trial.folder or RunFolder.create(runs, name)


@contextmanager
def _said_how_to_go_on(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if ranks.is_first and folder.last.exists():
            command = resuming_command(folder.path, "train")
            print(f"\ninterrupted; continue with\n{command}", file=sys.stderr)
        raise


def _check_refinement(refinement: Callable[..., Refinement] | None, refined_epochs: int, epochs: int) -> None:
    if (refinement is None) != (refined_epochs == 0):
        raise ConfigurationError(
            f"train.refined_epochs = {refined_epochs} and train.refinement go together: "
            "set both, such as 10 and @refinements.coordinate_descent, or neither"
        )
    if not 0 <= refined_epochs <= epochs:
        raise ConfigurationError(
            f"train.refined_epochs = {refined_epochs} must be from 0 to train.epochs = {epochs}, of which they are part"
        )


def _check_numbers(
    epochs: int,
    checkpoint_seconds: float | None,
    wiring_epochs: int | None,
    redraw_epochs: int | None,
    refined_epochs: int,
    workers: int | None,
    devices: int | str,
) -> None:
    check_whole("train.epochs", epochs)
    if checkpoint_seconds is not None:
        check_seconds("train.checkpoint_seconds", checkpoint_seconds)
    if wiring_epochs is not None:
        check_whole("train.wiring_epochs", wiring_epochs, least=0, most=max(epochs - refined_epochs - 1, 0))
    if redraw_epochs is not None:
        check_whole("train.redraw_epochs", redraw_epochs, least=2, most=max(epochs - refined_epochs, 2))
    if workers is not None:
        check_whole("train.workers", workers)
        check_effect("train", {"devices": devices}, "beside train.workers, each of which is one device")


def _num_bytes(data: Dataset) -> int:
    return sum(x.nbytes for x in (data.x_train, data.x_val, data.x_test))


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
