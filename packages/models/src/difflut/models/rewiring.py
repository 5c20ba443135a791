"""Layers whose inputs lie elsewhere: what mirrors a network, and lets several read one encoder."""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from difflut.layers import HardLayer, Layer
from difflut.layers.shapes import InputSize
from difflut.registry import LAYERS, NODES


class Moved(NamedTuple):
    """Where the rows of a source are that has been replaced by another.

    Attributes:
        rows: The row of the other source that each row is. (features,)
        features: Rows of the other source.
    """

    rows: Tensor
    features: int

    @classmethod
    def nowhere(cls, features: int) -> "Moved":
        """A source that is the same as before."""
        return cls(torch.arange(features), features)

    @property
    def is_same(self) -> bool:
        return len(self.rows) == self.features and torch.equal(self.rows, torch.arange(self.features))


def side_by_side(sources: Sequence[Moved]) -> Moved:
    """Several sources as a layer reads them."""
    rows, features = list[Tensor](), 0
    for source in sources:
        rows.append(source.rows + features)
        features += source.features
    return Moved(torch.cat(rows), features)


def rewired(layer: Layer, moved: Moved) -> tuple[Layer, Moved]:
    """A layer that computes what the given one does from inputs that lie elsewhere, and where its outputs are.

    The channels of the image that a convolution reads may lie in another order, among others, and mirrored left to
    right; then its outputs are mirrored, too. Inputs of a dense layer may lie anywhere. A layer to which this makes no
    difference is copied; otherwise its tables go into a layer of fixed wiring, as in `hardened`.

    Raises:
        ValueError: A convolution reads something else than such an image.
    """
    where, outputs = layer.placements, Moved.nowhere(layer.out_features)
    if moved.is_same:
        return deepcopy(layer), outputs
    pixels = torch.arange(where.height * where.width).view(where.height, where.width)
    channels = moved.rows.view(-1, pixels.numel())[:, 0] // pixels.numel()
    flip = not _is_image(moved.rows, channels, pixels)
    if flip and not _is_image(moved.rows, channels, pixels.flip(1)):
        raise ValueError(
            f"input_size={layer.input_size} is channels of {where.height} x {where.width} pixels, and the layer's "
            "sources are no images of this size, or not all; make them so, or leave out kernel_size"
        )
    hard, (height, width) = layer.hard(), where.kernel
    # Columns that no window reaches are at the right end. They are at the left end of a mirrored image, and windows
    # that are wider by as many still begin there.
    spare = (where.width + 2 * where.padding[1] - width) % where.stride[1] if flip else 0
    position, dx = hard.wiring // width, hard.wiring % width
    dx = width + spare - 1 - dx if flip else dx
    wiring = ((channels.to(dx.device)[position // height] * height + position % height) * (width + spare)) + dx
    if flip:
        mirrored = torch.arange(layer.out_features).view(-1, where.out_height, where.out_width).flip(2).flatten()
        outputs = Moved(mirrored, layer.out_features)
    if moved.features == layer.in_features and not spare and _reads_same(hard, wiring):
        return deepcopy(layer), outputs
    if len(layer.input_shape) == 1:
        return fixed(layer, hard, wiring, moved.features, None), outputs
    size = [moved.features // pixels.numel(), where.height, where.width]
    return fixed(layer, hard, wiring, size, [height, width + spare]), outputs


def _is_image(rows: Tensor, channels: Tensor, pixels: Tensor) -> bool:
    return torch.equal(rows, (channels[:, None] * pixels.numel() + pixels.flatten()).flatten())


def _reads_same(hard: HardLayer, wiring: Tensor) -> bool:
    """Whether a wiring is the layer's, but for the order of pins where only the number of ones counts."""
    entries = torch.arange(hard.tables.shape[2], device=hard.tables.device)
    ones = (entries[:, None] >> torch.arange(hard.wiring.shape[1], device=entries.device) & 1).sum(1)
    if torch.equal(hard.tables, hard.tables[..., 2**ones - 1]):
        return torch.equal(wiring.sort(1).values, hard.wiring.sort(1).values)
    return torch.equal(wiring, hard.wiring)


def fixed(
    layer: Layer, hard: HardLayer, wiring: Tensor, input_size: InputSize, kernel_size: int | Sequence[int] | None
) -> Layer:
    """A layer of fixed wiring in the place of the given one, with the same tables in `dwn` nodes.

    Args:
        hard: The given layer in hardware.
        wiring: What its nodes read of a window of that size. (L, n)
    """
    outputs, entries = hard.tables.shape[1:]
    made = LAYERS["random"](
        input_size,
        layer.output_size,
        NODES["dwn"],
        node_kwargs={"input_dim": entries.bit_length() - 1, "output_dim": outputs},
        layer_config=layer.layer_config,
        seed=layer.seed,
        kernel_size=kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        name=layer.name,
        reads=layer.reads,
    ).to(hard.tables.device)
    made.mapping.copy_(wiring)
    made.node.load_table(hard.tables.float())
    return made
