"""Random, fixed wiring."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from difflut.layers.layer import Layer
from difflut.layers.wiring import draw_wiring
from difflut.nodes import Node
from difflut.registry import register_layer


@register_layer("random")
class Random(Layer):
    """Each node reads inputs drawn once from the seed, evenly over the layer's input (see `random_wiring`).

    Args:
        input_size, output_size, node_type, n: See `Layer`, as for the options not named here.
        image_shape: Height and width of the image that the layer reads, where wires are drawn from windows of it.
        window: Side of these windows, one for each node (see `local_wiring`).
    """

    mapping: Tensor

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        *,
        image_shape: Sequence[int] | None = None,
        window: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(input_size, output_size, node_type, n, **options)
        self.image_shape, self.window = image_shape and list(image_shape), window
        nodes, generator = self.node.num_nodes, self.generator()
        self.register_buffer("mapping", draw_wiring(input_size, nodes, self.n, generator, image_shape, window))

    def wiring(self) -> Tensor:
        return self.mapping
