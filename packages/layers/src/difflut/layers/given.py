"""The base of layers whose tables are given, not learned."""

from functools import partial
from typing import Any

from torch import Tensor

from difflut import kernels
from difflut.layers.layer import Layer
from difflut.layers.shapes import InputSize
from difflut.nodes import GivenTable

RELAXATIONS = ("maximum", "smoothed", "multilinear")


class Given(Layer, decides=("node_type", "n", "node_kwargs")):
    """A layer in which every output channel computes one given function of inputs that follow from its number.

    Args:
        input_size: See `Layer`, as for the options not named here.
        output_size: Channels.
        wiring: The position in the window that each input reads. (output_size, n)
        operation: `"or"`, `"and"` or `"majority"`.
        relaxation: Function that training computes. `"maximum"`: the largest input (of AND, the smallest), whose
            gradient goes to the largest ones in equal parts; `"multilinear"`: the extension of the table, the
            probability that it is 1; `"smoothed"`: the table itself, for inputs that are bits, with the gradient of the
            smoothed table.

    Raises:
        ValueError: An option is unknown, or a majority is to be a maximum.
    """

    mapping: Tensor

    def __init__(
        self, input_size: InputSize, output_size: int, wiring: Tensor, operation: str, relaxation: str, **options: Any
    ) -> None:
        if relaxation not in RELAXATIONS:
            raise ValueError(f"relaxation={relaxation!r} must be one of {', '.join(RELAXATIONS)}")
        if operation == "majority" and relaxation == "maximum":
            raise ValueError("operation='majority' is no maximum; make relaxation 'smoothed' or 'multilinear'")
        super().__init__(input_size, output_size, partial(GivenTable, operation), wiring.shape[1], **options)
        self.operation, self.relaxation = operation, relaxation
        self.register_buffer("mapping", wiring, persistent=False)

    def wiring(self) -> Tensor:
        return self.mapping

    def relaxed(self, x: Tensor | kernels.Bits) -> Tensor:
        wiring, node = self.placed_wiring(), self.node
        if self.relaxation == "multilinear":
            return kernels.multilinear(x, wiring, node.soft_table(), use_cuda=node.use_cuda)
        if self.relaxation == "smoothed":
            return node(x, wiring)
        return kernels.maximum(x, wiring, least=self.operation == "and", use_cuda=node.use_cuda)
