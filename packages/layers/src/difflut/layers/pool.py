"""Pooling."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from difflut.kernels.validation import MAX_INPUTS
from difflut.layers.given import Given
from difflut.layers.shapes import InputSize, chosen_shape, pair
from difflut.registry import register_layer


@register_layer("pool")
class Pool(Given, decides=("output_size", "wiring")):
    """OR, AND or the majority of every window of an image, channel by channel (arXiv 2411.04732, section 3.2).

    Args:
        input_size, seed, padding, name, reads, layer_config: See `Layer`.
        operation: `"or"`, `"and"` or `"majority"`.
        kernel_size: Side of the windows, or their height and width; at most eight pixels.
        stride: Pixels from a window to the next; the kernel size where not given.
        relaxation: See `Given`.

    Raises:
        ValueError: An option is out of range, or there is no image.
    """

    def __init__(
        self,
        input_size: InputSize,
        *,
        operation: str = "or",
        kernel_size: int | Sequence[int] = 2,
        stride: int | Sequence[int] | None = None,
        relaxation: str = "maximum",
        reads: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        shape = chosen_shape(input_size, reads)
        if len(shape) != 3:
            raise ValueError(f"pooling needs an image (channels, height, width), got features {shape}")
        pixels = prod(pair(kernel_size, "kernel_size"))
        if pixels > MAX_INPUTS:
            raise ValueError(f"kernel_size={kernel_size} has {pixels} pixels; pooling takes {MAX_INPUTS} at most")
        wiring = torch.arange(shape[0] * pixels).view(shape[0], pixels)
        stride = kernel_size if stride is None else stride
        options |= {"kernel_size": kernel_size, "stride": stride, "reads": reads}
        super().__init__(input_size, shape[0], wiring, operation, relaxation, **options)
