"""The base of layers whose tables are given, not learned."""

from functools import partial
from typing import Any

from torch import Tensor

from difflut.layers.layer import Layer
from difflut.layers.shapes import InputSize
from difflut.nodes.given_table import RELAXATIONS


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
        node_type = partial(RELAXATIONS[relaxation], operation)
        super().__init__(input_size, output_size, node_type, wiring.shape[1], **options)
        self.operation, self.relaxation = operation, relaxation
        self.register_buffer("mapping", wiring, persistent=False)

    def wiring(self) -> Tensor:
        return self.mapping
