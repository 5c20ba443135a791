"""The epochs of a run."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from difflut.models import save_checkpoint
from difflut.training import Trainer, evaluate
from experiments.data import Dataset
from experiments.runs import RunFolder
from experiments.shared.memory import peak_memory
from experiments.training.progress import ProgressBar
from experiments.training.tracking import Tracker

ROWS_TO_CHOOSE = 100  # validation rows; with fewer, one row is more than a hundredth of the accuracy


def fit(
    trainer: Trainer,
    data: Dataset,
    epochs: int,
    folder: RunFolder,
    run: Tracker,
    pause: float | None,
    report: Callable[[Mapping[str, float]], None],
) -> None:
    """Trains the epochs that are left; each ends with its metrics written and reported, by the first process.

    Args:
        pause: Seconds between checkpoints to continue from; None writes none. The best network is written in any case.
    """
    chooses = len(data.x_val) >= ROWS_TO_CHOOSE
    best = max((_merit(row, chooses) for row in trainer.ranks.from_first(folder.metrics)), default=-1.0)
    saved = time.monotonic()
    pause = math.inf if pause is None else pause
    is_first, first = trainer.ranks.is_first, trainer.epoch
    if trainer.epoch == 0 and pause < math.inf and is_first:
        _save(trainer, folder.last)
    while trainer.epoch < epochs:
        refines, steps = trainer.refines, trainer.steps_per_epoch
        with ProgressBar(f"epoch {trainer.epoch + 1}/{epochs}", steps, is_first) as bar:
            before = trainer.threads.taken
            begun = time.process_time()
            row = {"epoch": trainer.epoch + 1, **trainer.run_epoch(bar.update)}
            used = torch.tensor([time.process_time() - begun, peak_memory(trainer.device)], dtype=torch.float64)
            trainer.ranks.add(used := used.to(trainer.device))
            row |= dict(zip(("cpu_seconds", "peak_bytes"), used.tolist(), strict=True))
            if len(data.x_val):
                scores = evaluate(trainer.model, data.x_val, data.y_val, ranks=trainer.ranks)
                row |= {"gap": scores.pop("gap"), **{f"val_{key}": value for key, value in scores.items()}}
            bar.summarize(row)
        if trainer.threads.taken != before:
            print(f"now with {trainer.threads.taken} of {trainer.threads.most} threads, which were quicker", flush=True)
        # The first step may have compiled; a refinement sums no gradients.
        if trainer.ranks.count > 1 and not refines and trainer.epoch == min(first + 2, epochs):
            _say_what_sums_cost(trainer, row["seconds"] / steps)
        if not is_first:
            continue
        folder.append_metrics(row)
        run.log(row, step=trainer.epoch)
        is_last, now = trainer.epoch == epochs, time.monotonic()
        is_due = now - saved >= pause or (is_last and pause < math.inf)
        if _merit(row, chooses) >= best and (chooses or is_due or is_last):
            best = _merit(row, chooses)
            save_checkpoint(trainer.model, folder.best, training={"epoch": trainer.epoch, "data": data.meaning})
        if is_due:
            _save(trainer, folder.last)
            saved = now
        report(row)


def _say_what_sums_cost(trainer: Trainer, step: float) -> None:
    """Says how much of a step the sum of gradients over all processes is, and whether it takes all that they save."""
    spent, count = trainer.sums.seconds(), trainer.ranks.count
    said = f"the gradients' sum over {count} processes takes {1e3 * spent:.3g} ms, a step {1e3 * step:.3g} ms"
    # One process would need at most `count` times what a step takes without the sum.
    if spent > step * (1 - 1 / count):
        said += "; the network is too small to gain: train several at once instead, as ablate does"
    print(said, flush=True)


def _merit(row: Mapping[str, float], chooses: bool) -> float:
    # Few validation rows cannot tell epochs apart: then the last epoch is taken.
    return row["val_accuracy_hard"] if chooses else row["epoch"]


def _save(trainer: Trainer, path: Path) -> None:
    save_checkpoint(trainer.model, path, training=trainer.state_dict())
