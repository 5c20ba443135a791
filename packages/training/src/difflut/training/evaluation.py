"""Accuracy of a network, hard and relaxed."""

from contextlib import nullcontext

import torch
from torch import Tensor

from difflut.models import LUTNetwork
from difflut.nodes import relaxed
from difflut.training.ranks import ALONE, Ranks

BITS = 2**28  # that are held as floats at a time: 1 GiB


def rows_at_once(bits: int, most: int = 4096) -> int:
    """Rows that are encoded at a time, each to so many bits, so that working memory stays bounded."""
    return min(max(BITS // max(bits, 1), 1), most)


@torch.no_grad()
def predict(model: LUTNetwork, x: Tensor, batch_size: int = 4096) -> Tensor:
    """Class indices `(rows,)` of the hard network; ties go to the lowest class.

    There are `batch_size` rows computed at once, fewer where they have many bits.
    """
    was_training, device = model.training, next(model.parameters()).device
    if model.encoder is not None:
        batch_size = rows_at_once(model.encoder.output_size, batch_size)
    model.eval()
    try:
        classes = [model(batch.to(device)).argmax(1) for batch in x.split(batch_size) if len(batch)]
        return torch.cat(classes or [x.new_empty(0, dtype=torch.int64)]).to(x.device)
    finally:
        model.train(was_training)


def evaluate(model: LUTNetwork, x: Tensor, y: Tensor, batch_size: int = 4096, ranks: Ranks = ALONE) -> dict[str, float]:
    """Accuracy of the hard network and of the relaxed one, and what discretisation costs.

    Args:
        x: Inputs `(rows, *features)`.
        y: Class indices `(rows,)`.
        batch_size: Rows that are computed at once, fewer where they have many bits.
        ranks: Processes that call this together, each of which counts a part of the rows.

    Raises:
        ValueError: Inputs and labels differ in number, or labels are not classes of the network.

    Returns:
        `accuracy_hard`, `accuracy_relaxed`, and `gap`, the relaxed minus the hard accuracy; fractions of 1.
    """
    check_labels(model, x, y)
    device = next(model.parameters()).device
    accuracy, mine = {}, ranks.rows(len(y))
    for form, context in (("hard", nullcontext()), ("relaxed", relaxed(model))):
        with context:
            # Ones are counted, since a mean on a GPU may be wrong in the last digit.
            correct = (predict(model, x[mine], batch_size) == y[mine]).sum().to(device)
            ranks.add(correct)
            accuracy[form] = correct.item() / len(y)
    return {
        "accuracy_hard": accuracy["hard"],
        "accuracy_relaxed": accuracy["relaxed"],
        "gap": accuracy["relaxed"] - accuracy["hard"],
    }


def check_labels(model: LUTNetwork, x: Tensor, y: Tensor) -> None:
    """Checks that there is a label for each input, each a class of the network.

    Raises:
        ValueError: They differ in number, there are none, or labels are not classes of the network.
    """
    if y.shape != (len(x),) or not len(y):
        count = " x ".join(map(str, y.shape))
        raise ValueError(f"got {len(x)} inputs and {count} labels; there must be one for each input, and one at least")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"labels must be class indices, whole numbers; got {y.dtype}")
    classes = model.groupsum.k if model.groupsum else model.layers[-1].output_size
    lowest, highest = (int(end) for end in y.aminmax())
    if lowest < 0 or highest >= classes:
        raise ValueError(f"labels go from {lowest} to {highest}, the network has {classes} classes, 0 to {classes - 1}")


def table_statistics(model: LUTNetwork) -> list[dict[str, float]]:
    """For each layer, the share of tables that are constant and of entries that are saturated.

    An entry is saturated where the soft table is within 1 % of a bit. A constant table reads no input: such a node is
    lost to the network.
    """
    statistics = []
    with torch.no_grad():
        for number, layer in enumerate(model.layers):
            soft, hard = layer.soft_table(), layer.hard().tables
            statistics.append(
                {
                    "layer": number,
                    "constant": (hard.all(-1) | ~hard.any(-1)).double().mean().item(),
                    "saturated": ((soft <= 0.01) | (soft >= 0.99)).double().mean().item(),
                }
            )
    return statistics
