"""A level of a tree of nodes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from difflut.layers.layer import Layer
from difflut.layers.shapes import InputSize, chosen_shape
from difflut.nodes import Node
from difflut.registry import register_layer


@register_layer("tree")
class Tree(Layer, decides=("output_size", "kernel_size", "stride", "padding")):
    """Node `l` reads the outputs `n l` to `n l + n - 1` of the layer before, at every pixel of an image.

    A convolution and some of these are a convolution whose kernels are trees of nodes (arXiv 2411.04732, section 3.1).

    Args:
        input_size, node_type, n, seed, name, reads, node_kwargs, layer_config: See `Layer`. The outputs follow from the
            inputs: one node for n of them.

    Raises:
        ValueError: n does not divide the inputs.
    """

    mapping: Tensor

    def __init__(self, input_size: InputSize, node_type: Callable[..., Node], n: int = 2, **options: Any) -> None:
        shape = chosen_shape(input_size, options.get("reads"))
        if n < 1 or shape[0] % n:
            raise ValueError(f"n={n} must be 1 or more, and divide the {shape[0]} inputs of a tree")
        options["kernel_size"] = 1 if len(shape) == 3 else None
        super().__init__(input_size, shape[0] // n, node_type, n, **options)
        self.register_buffer("mapping", torch.arange(shape[0]).view(-1, n), persistent=False)

    def wiring(self) -> Tensor:
        return self.mapping
