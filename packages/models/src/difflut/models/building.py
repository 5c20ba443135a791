"""Builds a network for a data set from numbers and functions that make its parts."""

from collections.abc import Callable, Sequence
from math import prod

import torch

from difflut.encoders import Encoder
from difflut.layers import GroupSum, Layer
from difflut.layers.shapes import Shape
from difflut.models.graph import ENCODER, name_of
from difflut.models.networks import LUTNetwork
from difflut.registry import checked


@checked
def network(
    input_shape: Sequence[int],
    num_classes: int,
    encoder: Encoder,
    layers: Sequence[Callable[..., Layer]],
    tau: float = 1.0,
    use_randperm: bool = False,
    seed: int = 0,
    group_sum: Callable[..., GroupSum] = GroupSum,
) -> LUTNetwork:
    """Builds a network for a data set: each layer is given the shapes of what there is to read, and a seed.

    Args:
        input_shape: Shape of one sample; `(height, width)` or `(height, width, channels)` is an image.
        num_classes: Classes of the group sum.
        encoder: Not necessarily fitted yet.
        layers: Functions that make a layer from `input_size`, the shapes of all sources by name, and `seed`.
        tau: Temperature of the group sum.
        use_randperm: Whether the group sum permutes its input.
        seed: Seed from which the layers' seeds follow.
        group_sum: Function that makes the group sum, where its temperature is learned or scheduled.

    Raises:
        ValueError: There are no layers, or sizes do not fit together.
    """
    if not layers:
        raise ValueError("network.layers must be a list of at least one layer; got none")
    seeds = torch.randint(2**31, (len(layers) + 1,), generator=torch.Generator().manual_seed(seed)).tolist()
    shapes, built = {"encoder": _encoded_shape(encoder.compared_shape(input_shape), encoder.num_bits)}, list[Layer]()
    for i, (make_layer, layer_seed) in enumerate(zip(layers, seeds, strict=False)):
        try:
            built.append(make_layer(input_size=shapes, seed=layer_seed))
        except ValueError as error:
            raise ValueError(f"network.layers[{i}]: {error}") from error
        shapes[name_of(i, built[-1])] = built[-1].output_shape
    made = LUTNetwork(encoder, built, group_sum(num_classes, tau, use_randperm, seeds[-1]))
    _check_windows(made)
    return made


def _check_windows(made: LUTNetwork) -> None:
    """Raises a `ValueError` where a dense layer is to read windows of an image whose channels come first."""
    for i, (layer, sources) in enumerate(zip(made.layers, made.graph.sources, strict=True)):
        images = [made.layers[source].output_shape[1:] for source in sources if source != ENCODER]
        images += [made.image_size() or ()] * (ENCODER in sources)
        given = getattr(layer, "image_shape", None)
        if given and any(images):
            raise ValueError(
                f"network.layers[{i}]: image_shape={tuple(given)} counts features pixel by pixel, and the "
                "layer reads an image channel by channel, as convolutions do: leave out image_shape and window, or "
                "give kernel_size and channels_per_node"
            )


def _encoded_shape(shape: Sequence[int], bits: int) -> Shape:
    """The shape of the bits of an encoder: an image `(height, width[, channels])` becomes one with more channels."""
    if len(shape) in (2, 3):
        height, width, *channels = shape
        return prod(channels) * bits, height, width
    return (prod(shape) * bits,)
