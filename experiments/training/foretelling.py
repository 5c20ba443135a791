"""What a training would do, told without doing it."""

from collections.abc import Sequence
from copy import deepcopy

import torch

from difflut.circuits import Circuit, estimate_cost, input_words
from difflut.models import LUTNetwork
from difflut.training import Trainer
from experiments.data import Dataset
from experiments.shared.costs import in_words, named
from experiments.shared.failures import optional

ROWS_TO_FIT = 2000  # by which an encoder costs about what it does when fitted to all


def foretell(trainer: Trainer, data: Dataset, gradient_epochs: int, refined_epochs: int, counts_luts: bool) -> None:
    """Prints the network, the rows, the steps and, if wanted, the untrained network's cost in hardware by estimate."""
    model, steps = trainer.model, -(-len(data.x_train) // trainer.batch_size)
    rows = ", ".join(f"{len(x):,} {part}" for part, x in _parts(data))
    print(model)
    print(
        f"{data.name}: {rows} rows of {' x '.join(map(str, data.feature_shape))} features, {data.num_classes} classes"
    )
    print(
        f"{model.num_luts:,} tables, {model.num_lookups:,} look-ups for a sample, {model.num_parameters:,} parameters"
    )
    refined = f", then {refined_epochs} of refinement" if refined_epochs else ""
    print(f"{gradient_epochs} epochs of {steps:,} steps of {trainer.batch_size} rows{refined}", flush=True)
    if counts_luts:
        with optional("cost in hardware"):
            print(f"before training: {_cost(deepcopy(model), data)}, by estimate")
    print("nothing was trained or written: train.dry_run = True")


def _parts(data: Dataset) -> Sequence[tuple[str, torch.Tensor]]:
    return (("training", data.x_train), ("validation", data.x_val), ("test", data.x_test))


def _cost(model: LUTNetwork, data: Dataset) -> str:
    if model.encoder is not None:
        model.encoder.fit(data.x_train[:ROWS_TO_FIT])
    circuit = Circuit.from_model(model)
    cost = estimate_cost(circuit, input_words(circuit, data.x_train.dtype == torch.uint8))
    return in_words(named(cost) | {"simplified": False})
