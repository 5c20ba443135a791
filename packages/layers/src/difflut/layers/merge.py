"""Several paths made one."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from difflut.kernels.validation import MAX_INPUTS
from difflut.layers.given import Given
from difflut.layers.shapes import InputSize, chosen_shape
from difflut.registry import register_layer


@register_layer("merge")
class Merge(Given, decides=("output_size", "wiring", "kernel_size", "stride", "padding")):
    """OR, AND or the majority of equal features of several sources, as at the end of a residual block.

    Args:
        input_size, seed, name, layer_config: See `Layer`.
        reads: Names of two to eight sources of one shape, "encoder" or earlier layers.
        operation: `"or"`, `"and"` or `"majority"`.
        relaxation: See `Given`.

    Raises:
        ValueError: There are not two to eight sources of one shape, or an option is out of range.
    """

    def __init__(
        self,
        input_size: InputSize,
        reads: Sequence[str],
        *,
        operation: str = "or",
        relaxation: str = "maximum",
        **options: Any,
    ) -> None:
        shape, sources = chosen_shape(input_size, reads), len(reads)
        if not 2 <= sources <= MAX_INPUTS:
            raise ValueError(f"merge: two to eight sources are needed, got reads={list(reads)}")
        each = [input_size[name] for name in reads] if isinstance(input_size, Mapping) else [shape]
        if len(set(each)) > 1 or shape[0] % sources:
            raise ValueError(f"merge: sources of one shape are needed, got reads={list(reads)} of shapes {each}")
        channels = shape[0] // sources
        wiring = torch.arange(shape[0]).view(sources, channels).t().contiguous()
        options |= {"reads": reads, "kernel_size": 1 if len(shape) == 3 else None}
        super().__init__(input_size, channels, wiring, operation, relaxation, **options)
