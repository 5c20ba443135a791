"""Shapes of activations: a number of features, or channels, height and width of an image."""

from collections.abc import Mapping, Sequence
from math import prod

from difflut.kernels import Placements

Shape = tuple[int, ...]
InputSize = int | Sequence[int] | Mapping[str, Shape]


def as_shape(size: int | Sequence[int], name: str) -> Shape:
    """`(features,)` or `(channels, height, width)`.

    Raises:
        ValueError: It is neither, or a size is not positive.
    """
    shape = (size,) if isinstance(size, int) else tuple(size)
    if len(shape) not in (1, 3) or not all(isinstance(side, int) and side >= 1 for side in shape):
        raise ValueError(f"{name}={size} must be at least 1: a number of features, or (channels, height, width)")
    return shape


def chosen_shape(input_size: InputSize, reads: Sequence[str] | None) -> Shape:
    """The shape that a layer reads.

    Args:
        input_size: The shape itself, or those of all sources that there are by name, the layer before last.
        reads: The sources to choose; the layer before where not given.

    Raises:
        ValueError: There is no such source.
    """
    if not isinstance(input_size, Mapping):
        return as_shape(input_size, "input_size")
    names = list(input_size)[-1:] if reads is None else list(reads)
    for name in names:
        if name not in input_size:
            raise ValueError(f"reads={names}: there is no {name!r} before this layer; known: {', '.join(input_size)}")
    return joined([input_size[name] for name in names])


def joined(shapes: Sequence[Shape]) -> Shape:
    """The shape of sources side by side: images of one size by their channels, everything else by its features.

    Raises:
        ValueError: There is none.
    """
    if not shapes:
        raise ValueError("reads=[] must name at least one source")
    sides = {shape[1:] for shape in shapes}
    if len(sides) == 1:
        return sum(shape[0] for shape in shapes), *sides.pop()
    return (sum(prod(shape) for shape in shapes),)


def place(
    shape: Shape, kernel_size: int | Sequence[int] | None, stride: int | Sequence[int], padding: int | Sequence[int]
) -> Placements:
    """The placements of a layer: every window of an image or, without a kernel size, one in front of all features.

    Raises:
        ValueError: There is no image, the windows do not fit, or there are none that could have a stride or padding.
    """
    if kernel_size is None:
        if pair(stride, "stride") != (1, 1) or pair(padding, "padding", 0) != (0, 0):
            raise ValueError(f"stride={stride} and padding={padding} need kernel_size, the side of the windows")
        return Placements(prod(shape))
    if len(shape) != 3:
        raise ValueError(f"kernel_size={kernel_size} needs an image (channels, height, width), got features {shape}")
    sizes = pair(kernel_size, "kernel_size"), pair(stride, "stride"), pair(padding, "padding", 0)
    try:
        return Placements(*shape, *sizes)
    except ValueError as error:
        raise ValueError(f"kernel_size={kernel_size}: {error}") from error


def pair(size: int | Sequence[int], name: str, least: int = 1) -> tuple[int, int]:
    """Height and width, equal where only one number is given.

    Raises:
        ValueError: There are not two, or one is too small.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < least:
        raise ValueError(f"{name}={size} must be {least} or more: one number, or a height and a width")
    return sides
