"""The training job."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from difflut.config import configurable, operative_config, overridden
from difflut.models import LUTNetwork, describe
from difflut.registry import register_job
from difflut.training import Teacher, Trainer
from difflut.training.area import Cost
from difflut.training.losses import cross_entropy
from difflut.training.ranks import ALONE
from difflut.training.refinement import Refinement
from experiments.data import Dataset, dataset, kept_rows
from experiments.runs import RunFolder, TrialRun
from experiments.shared.arguments import configured
from experiments.training.concluding import conclude
from experiments.training.fitting import fit
from experiments.training.foretelling import foretell
from experiments.training.group import joined
from experiments.training.recipe import Recipe
from experiments.training.record import Record, said_how_to_go_on
from experiments.training.resuming import proceed
from experiments.training.starting import processes_wanted, run_together
from experiments.training.teaching import educated
from experiments.training.tracking import StartTracking, Tracker, tracker
from experiments.training.workers import check_workers, run_on_cluster

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
    count_luts: bool = True,
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
        count_luts: Whether the network's LUTs are counted in the end, and in a dry run, which takes minutes for a large
            one; without it reports have no cost in hardware.
        dry_run: Whether to build everything, train nothing, and tell what would be trained: network, rows, steps and
            cost in hardware. The trial of a sweep tells nothing.
        trial: Set by a sweep, whose trial the run is.

    Returns:
        The content of the run's result.json, nothing where this process is not the first of several; for a dry run
        `network`, with its encoder as it was given, `tables`, `parameters`, `epochs` and `validation_rows`.
    """
    recipe = Recipe(
        network,
        optimizer,
        schedule,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        graph=graph,
        loss=loss,
        augmentation=augmentation,
        teacher=teacher,
        refinement=refinement,
        refined_epochs=refined_epochs,
        freezing=freezing,
        cost=cost,
        wiring_epochs=wiring_epochs,
        redraw_epochs=redraw_epochs,
    )
    record = Record(runs, name, resume, checkpoint_seconds, upload_checkpoint, count_luts, trial or TrialRun(None))
    with configured():
        recipe.check()
        record.check(is_written=not dry_run)
        check_workers(workers, devices)
        start_tracking = tracking(**record.trial.tracking)
        if dry_run:
            return _foresee(recipe, record, tells=trial is None)
        count = processes_wanted(devices, device)
    if count > 1:
        return run_together(count, record.trial, resume=resume)
    if workers is not None and not dist.is_initialized():
        return _train_on_cluster(workers, device, recipe, record)
    return _train_here(recipe, record, device, start_tracking)


def _foresee(recipe: Recipe, record: Record, tells: bool) -> dict[str, Any]:
    """Builds everything and trains nothing."""
    data, model = recipe.begin()
    trainer = recipe.trainer(model, data)
    recipe.check_first_call(data)
    if tells:
        _tell_overridden()
        foretell(trainer, data, recipe.gradient_epochs, recipe.refined_epochs, record.count_luts)
    size = {"tables": model.num_luts, "parameters": model.num_parameters}
    return {"network": model, **size, "epochs": recipe.epochs, "validation_rows": len(data.x_val)}


def _train_on_cluster(workers: int, device: str, recipe: Recipe, record: Record) -> dict[str, Any]:
    """Reads the data once for all workers, and lets these train."""
    with configured(), kept_rows({}) as rows:
        dataset(seed=recipe.seed)
        folder = record.folder()
    with said_how_to_go_on(folder, ALONE):
        return run_on_cluster(workers, device, folder, rows)


def _train_here(recipe: Recipe, record: Record, device: str, start_tracking: StartTracking) -> dict[str, Any]:
    """Trains in this process, which may be one of several; the first one writes, and alone has a result."""
    with ExitStack() as group:
        with configured():
            trainer, data, folder = _prepared(recipe, record, device, group)
        ranks, model = trainer.ranks, trainer.model
        shown = {"seed": recipe.seed, "epochs": recipe.epochs, **describe(model), **record.trial.values}
        with start_tracking(folder.path, shown) if ranks.is_first else Tracker() as run:
            if recipe.teacher:
                trainer.samples.teacher = educated(recipe.teacher, data, trainer.device, folder.teacher, ranks)
            if not record.resume and ranks.is_first:
                folder.forget_after(0)
                folder.write_config(operative_config())
            _announce(trainer, data, folder)
            with said_how_to_go_on(folder, ranks):
                fit(trainer, data, recipe.epochs, folder, run, record.checkpoint_seconds, record.trial.report)
                trainer.release()
                if not ranks.is_first:
                    return {}
                group.close()  # the first process goes on alone
                known = {"dataset": data.name, "seed": recipe.seed, "epochs": recipe.epochs, "processes": ranks.count}
                return conclude(known, record, data, trainer.device, folder, run)


def _prepared(recipe: Recipe, record: Record, device: str, group: ExitStack) -> tuple[Trainer, Dataset, RunFolder]:
    """The trainer where the run begins or goes on, the data, and the folder; joins the group of processes."""
    data, model = recipe.begin()
    data = _on_device(data, model, group.enter_context(joined(device)))
    trainer = recipe.trainer(model, data)
    _tell_overridden()  # before a call that gives what users bind
    recipe.check_first_call(data)
    folder = trainer.ranks.from_first(record.folder)
    if record.resume:
        proceed(trainer, folder, recipe.epochs)
    return trainer, data, folder


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


def _tell_overridden() -> None:
    for binding in overridden():
        if not binding.startswith(("train.", "tracking.")):  # a sweep gives these itself
            print(f"{binding} is bound to no effect: the job gives its own", flush=True)


def _num_bytes(data: Dataset) -> int:
    return sum(x.nbytes for x in (data.x_train, data.x_val, data.x_test))


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")
