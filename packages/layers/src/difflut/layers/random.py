"""Random, fixed wiring."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from difflut.layers.drawn import Drawn
from difflut.layers.shapes import InputSize
from difflut.nodes import Node
from difflut.registry import register_layer


@register_layer("random")
class Random(Drawn):
    """Each node reads inputs drawn once from the seed, evenly over the layer's input (see `random_wiring`).

    Args:
        input_size, output_size, node_type, n: See `Layer`; for the other options, too, and `Drawn`.
    """

    mapping: Tensor

    def __init__(
        self,
        input_size: InputSize,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(input_size, output_size, node_type, n, **options)
        self.register_buffer("mapping", self.drawn(self.node.num_nodes, self.n, self.generator()))

    def wiring(self) -> Tensor:
        return self.mapping
