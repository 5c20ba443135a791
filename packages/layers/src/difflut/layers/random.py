"""Random, fixed wiring."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from difflut.layers.layer import Layer
from difflut.layers.shapes import InputSize
from difflut.layers.wiring import check_together, draw_wiring
from difflut.nodes import Node
from difflut.registry import register_layer


@register_layer("random")
class Random(Layer):
    """Each node reads inputs drawn once from the seed, evenly over the layer's input (see `random_wiring`).

    Args:
        input_size, output_size, node_type, n: See `Layer`, as for the options not named here.
        image_shape: Height and width of the image that a dense layer reads, where wires are drawn from windows of it.
        window: Side of these windows, one for each node (see `local_wiring`).
        channels_per_node: Channels that a node may read (see `channel_wiring`); all where not given.
        groups: Parts of the channels to which parts of the nodes keep.
        together: Number of neighbouring nodes that share their channels or window, as the leaves of a tree do.
    """

    mapping: Tensor

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
        self.image_shape, self.window = image_shape and list(image_shape), window
        self.channels_per_node, self.groups, self.together = channels_per_node, groups, together
        check_together(together, window, channels_per_node, groups)
        mapping = draw_wiring(
            self.placements,
            self.node.num_nodes,
            self.n,
            self.generator(),
            image_shape=image_shape,
            window=window,
            channels_per_node=channels_per_node,
            groups=groups,
            together=together,
        )
        self.register_buffer("mapping", mapping)

    def wiring(self) -> Tensor:
        return self.mapping
