"""What is finished before all else: layers front to back, and wirings."""

from collections.abc import Iterable, Sequence

from difflut.layers import Layer
from difflut.layers.learnable import Learnable


def front_to_back(layers: Sequence[Layer], epochs: int, first: float, last: float) -> list[int]:
    """The epoch before which each layer but the last is frozen, as `Trainer` takes it.

    A network whose training is relaxed loses accuracy where all its layers become tables at once. Frozen one after
    another, each is a table while those behind it still learn to live with that (CompactLogic, arXiv 2602.05830).

    Args:
        layers: Layers of the network. One without parameters is frozen with the layer before it; the last one that has
            parameters, and those behind it, never are.
        epochs: Epochs of the whole training.
        first: Share of the epochs after which the first layer is frozen.
        last: Share of the epochs after which only the last layer with parameters learns.

    Raises:
        ValueError: The shares are not in order, from 0 to 1, or no layer would be frozen before the training ends.
    """
    if not 0 <= first <= last <= 1:
        raise ValueError(f"freezing={(first, last)} must be two shares of the epochs in order, such as (0.4, 0.9)")
    learns = [layer.has_parameters for layer in layers]
    number_of_learning = [max(sum(learns[: i + 1]) - 1, 0) for i in range(len(layers) - 1)]
    last_number = sum(learns) - 1
    shares = [first + (last - first) * number / max(last_number - 1, 1) for number in number_of_learning]
    frozen_before = [
        round(epochs * min(share, last)) if number < last_number else epochs
        for number, share in zip(number_of_learning, shares, strict=True)
    ]
    if min(frozen_before, default=epochs) == epochs:
        raise ValueError(
            f"freezing={(first, last)} has no effect: {sum(learns)} layers of the network learn, the last one is never "
            f"frozen, and the others not within the {epochs} epochs; lower the shares, or leave freezing out"
        )
    return frozen_before


def settle(layers: Iterable[Layer]) -> bool:
    """Leaves learned wirings as they are from now on; returns whether one of them still learned."""
    learning = [layer.logits for layer in layers if isinstance(layer, Learnable) and layer.learns_wiring]
    for logits in learning:
        logits.requires_grad_(False)
    return bool(learning)
