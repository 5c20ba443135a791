"""The base of layers whose wiring is drawn from the seed."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from difflut.layers.layer import Layer
from difflut.layers.shapes import InputSize
from difflut.layers.wiring import random_wiring
from difflut.nodes import Node


class Drawn(Layer):
    """A layer that draws what its nodes may read: of the whole window, or each node of a part of it.

    A part is a square window of the image that a dense layer reads, or a few channels of the window. Parts are spread
    as evenly as can be. Few channels keep what a node reads correlated (arXiv 2411.04732, section 3.1: two are better
    than eight).

    Args:
        input_size, output_size, node_type, n: See `Layer`, as for the options not named here.
        image_shape: Height and width of the image whose windows are parts. The inputs of a pixel (its channels, and the
            bits of each) follow each other, pixels row by row.
        window: Side of these windows in pixels.
        channels_per_node: Channels of a part; all of its group where not given.
        groups: Equal groups of channels; the nodes are divided among them in order.
        together: Number of neighbouring nodes that share a part, as the leaves of a tree do.

    Raises:
        ValueError: Options do not go together, or do not fit.
    """

    def __init__(
        self,
        input_size: InputSize,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        *,
        image_shape: Sequence[int] | None = None,
        window: int | None = None,
        channels_per_node: int | None = None,
        groups: int = 1,
        together: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(input_size, output_size, node_type, n, **options)
        self.image_shape, self.window = None if image_shape is None else list(image_shape), window
        self.channels_per_node, self.groups, self.together = channels_per_node, groups, together
        self._check_parts()

    @property
    def has_parts(self) -> bool:
        """Whether each node keeps to a part of the window."""
        return self.window is not None or self.channels_per_node is not None or self.groups != 1

    @property
    def reach(self) -> int:
        """Inputs among which those of a node are drawn."""
        if self.image_shape and self.window:
            return self.in_features // prod(self.image_shape) * self.window**2
        return (self.channels_per_node or self.placements.channels // self.groups) * prod(self.placements.kernel)

    def _check_parts(self) -> None:
        image_shape, window, together, groups = self.image_shape, self.window, self.together, self.groups
        nodes, channels, few = self.node.num_nodes, self.placements.channels, self.channels_per_node
        if (image_shape is None) != (window is None):
            raise ValueError(f"a wiring by windows needs both image_shape and window, got {image_shape} and {window}")
        if image_shape is not None and window is not None:
            if not self.placements.is_dense or few is not None or groups != 1:
                raise ValueError(
                    f"window={window} is for dense layers without channels; a convolution's window is its kernel_size"
                )
            if len(image_shape) != 2:
                raise ValueError(
                    f"image_shape={tuple(image_shape)} must be (height, width); the channels follow from input_size"
                )
            if min(image_shape) < 1 or self.in_features % prod(image_shape):
                raise ValueError(f"input_size={self.in_features} is no multiple of image_shape={tuple(image_shape)}")
            if not 1 <= window <= min(image_shape):
                raise ValueError(f"window={window} must lie between 1 and {min(image_shape)}, to fit the image")
        if together < 1 or nodes % together:
            raise ValueError(f"together={together} must divide the layer's {nodes} nodes")
        if together > 1 and not self.has_parts:
            raise ValueError(f"together={together} needs window, channels_per_node or groups, which nodes can share")
        if groups < 1 or channels % groups or nodes // together % groups:
            raise ValueError(f"groups={groups} must divide the {channels} channels and the {nodes // together} nodes")
        if few is not None and not 1 <= few <= channels // groups:
            raise ValueError(
                f"channels_per_node={few} must lie between 1 and {channels // groups}, the channels of a group"
            )

    def drawn(self, rows: int, count: int, generator: torch.Generator, again: torch.Generator | None = None) -> Tensor:
        """Draws different inputs of the window for each row, from the part of the node to which the row belongs.

        Args:
            rows: Number of rows; equally many belong to each node, in order.
            count: Number of inputs of a row. Without parts it may be more than there are, and rows are filled evenly.
            generator: Source of the parts, and of what rows read there.
            again: Source of what rows read, if another: parts stay where they were.

        Returns:
            Positions in the window `(rows, count)`.

        Raises:
            ValueError: A part holds fewer inputs.
        """
        if not self.has_parts:
            return random_wiring(self.placements.window, rows, count, again or generator)
        if count > self.reach:
            raise ValueError(
                f"window={self.window}, channels_per_node={self.channels_per_node} and groups={self.groups} leave a "
                f"node {self.reach} inputs, and it needs {count}; make its part larger"
            )
        parts = self.node.num_nodes // self.together
        if self.image_shape and self.window:
            starts = self._window_lines(self.image_shape, self.window, parts, generator)
        else:
            starts = self._channels(parts, generator)
        length = self.reach // starts.shape[1]
        inside = torch.rand(rows, self.reach, generator=again or generator).topk(count).indices
        part = torch.arange(rows)[:, None] // (rows // parts)
        return starts[part, inside // length] + inside % length

    def _window_lines(self, image: list[int], side: int, parts: int, generator: torch.Generator) -> Tensor:
        """Where the lines of pixels of each part begin: (parts, side)."""
        height, width = image
        right = width - side + 1
        corner = random_wiring((height - side + 1) * right, parts, 1, generator)
        first = (corner // right + torch.arange(side)) * width + corner % right
        return first * (self.in_features // (height * width))

    def _channels(self, parts: int, generator: torch.Generator) -> Tensor:
        """Where the channels of each part begin: (parts, channels_per_node)."""
        members = self.placements.channels // self.groups
        group = torch.arange(parts)[:, None] * self.groups // parts
        channels = random_wiring(members, parts, self.channels_per_node or members, generator) + group * members
        return channels * prod(self.placements.kernel)
