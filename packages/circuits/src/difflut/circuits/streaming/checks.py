"""What cannot be streamed, refused by name before anything is written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from difflut.circuits.streaming.responses import streamed_sums

if TYPE_CHECKING:
    from difflut.kernels import Placements
    from difflut.models import LUTNetwork
    from difflut.models.networks import Stage


def check_streams(model: "LUTNetwork", stages: "Sequence[Stage]") -> None:
    """Refuses a network whose images cannot come pixel by pixel.

    Raises:
        ValueError: There are no convolutions, inputs are bits already, or a window does not fit a stream.
    """
    if all(layer.placements.is_dense for layer, _ in stages):
        raise ValueError(
            "a stream needs a convolution, but all layers are dense; give one a kernel_size, or write the network "
            "unrolled"
        )
    if model.encoder is None:
        raise ValueError("a stream takes pixels, but the network has no encoder; give it one")
    if model.encoder.detectors:
        shape = model.encoder.feature_shape
        for sums in streamed_sums(model.encoder.detectors, shape, range(shape[2])):
            _check_windows("encoder.detectors", sums.placements)
    for number, (layer, _) in enumerate(stages):
        if not layer.placements.is_dense:
            _check_windows(f"layers[{number}]", layer.placements)


def _check_windows(name: str, where: "Placements") -> None:
    (high, wide), (_, columns) = where.kernel, where.padding
    sizes = zip((where.out_height, where.out_width), where.stride, (where.height, where.width), strict=True)
    if any((count - 1) * stride >= size for count, stride, size in sizes):
        raise ValueError(
            f"{name} with padding={where.padding} has more windows than a stream has pixels; for kernel={where.kernel} "
            f"take a padding of at most {((high - 1) // 2, (wide - 1) // 2)}"
        )
    if wide - columns > where.width or (high > 1 and where.width == 1):
        raise ValueError(
            f"{name} has kernel={where.kernel} with padding={where.padding} on an image {where.width} pixels wide, and "
            f"a stream needs one of at least {max(wide - columns, 2)}; take a smaller kernel"
        )
    late = _slots_after(where)
    if late > where.height * where.width:
        raise ValueError(
            f"{name} with padding={where.padding} waits for {late} pixels after an image of {where.height} x "
            f"{where.width}, and a stream allows {where.height * where.width}; take a smaller kernel or padding"
        )


def _slots_after(where: "Placements") -> int:
    """Pixels that must follow an image before its last window is whole."""
    last = [
        (count - 1) * stride + kernel - 1 - padding
        for count, stride, kernel, padding in zip(
            (where.out_height, where.out_width), where.stride, where.kernel, where.padding, strict=True
        )
    ]
    return last[0] * where.width + last[1] - (where.height * where.width - 1)
