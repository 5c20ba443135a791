"""Random, fixed wiring."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from difflut.layers.layer import Layer
from difflut.layers.wiring import random_wiring
from difflut.nodes import Node
from difflut.registry import register_layer


@register_layer("random")
class Random(Layer):
    """Each node reads inputs drawn once from the seed, evenly over the layer's input (see `random_wiring`)."""

    def __init__(
        self, input_size: int, output_size: int, node_type: Callable[..., Node], n: int | None = None, **options: Any
    ) -> None:
        super().__init__(input_size, output_size, node_type, n, **options)
        self.register_buffer("mapping", random_wiring(input_size, self.node.num_nodes, self.n, self.generator()))

    def wiring(self) -> Tensor:
        return self.mapping
