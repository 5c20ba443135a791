"""Random changes of images: a whole batch at once, on the device where it lies.

The random numbers come from a generator on the CPU, so that they are the same whatever device the images lie on.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.registry import register_augmentation

INTERPOLATIONS = ("bilinear", "nearest")


@register_augmentation("shift")
def shift(x: Tensor, generator: torch.Generator, pixels: int = 1, flip: bool = False) -> Tensor:
    """Moves each image by whole pixels, and with `flip` mirrors half of them; what comes in from outside is 0.

    Args:
        x: Images. (rows, height, width) or (rows, height, width, channels)
        generator: Generator on the CPU.
        pixels: The farthest that an image moves along each axis.
        flip: Whether an image is mirrored, left to right, with probability 1/2.

    Raises:
        ValueError: `x` holds no images, or `pixels` is negative.
    """
    if pixels < 0:
        raise ValueError(f"pixels={pixels} must be 0 or more")
    images = with_channels(x)
    rows, height, width, _ = images.shape
    down, right = torch.randint(-pixels, pixels + 1, (2, rows, 1), generator=generator).to(x.device).unbind()
    mirrored = (torch.rand(rows, 1, generator=generator) < (0.5 if flip else 0)).to(x.device)
    columns = torch.arange(width, device=x.device) - right
    columns = torch.where(mirrored, width - 1 - columns, columns)
    lines = torch.arange(height, device=x.device) - down
    inside = _inside(lines, height)[:, :, None] & _inside(columns, width)[:, None, :]
    lines, columns = lines.clamp(0, height - 1), columns.clamp(0, width - 1)
    row = torch.arange(rows, device=x.device)[:, None, None]
    moved = images[row, lines[:, :, None], columns[:, None, :]]
    return (moved * inside[..., None]).view_as(x)


@register_augmentation("affine")
def affine(
    x: Tensor,
    generator: torch.Generator,
    shift: float = 2.0,
    rotation: float = 10.0,
    zoom: float = 0.1,
    shear: float = 0.0,
    flip: bool = False,
    interpolation: str = "bilinear",
) -> Tensor:
    """Moves, turns, zooms and shears each image about its centre by amounts drawn evenly.

    What comes in from outside is 0; whole-number pixels are rounded.

    Args:
        x: Images. (rows, height, width) or (rows, height, width, channels)
        generator: Generator on the CPU.
        shift: The farthest that an image moves along each axis, in pixels.
        rotation: The largest angle, in degrees.
        zoom: Each axis is scaled by `1 - zoom` to `1 + zoom`.
        shear: The largest sideways move of a line, as a share of its distance from the centre.
        flip: Whether an image is mirrored, left to right, with probability 1/2.
        interpolation: `"bilinear"`, or `"nearest"`, which makes no values that are not in the image; the mixed ones of
            `"bilinear"` pass other thresholds than those of images that were not moved.

    Raises:
        ValueError: `x` holds no images, an amount is out of range, or there is no such interpolation.
    """
    images = with_channels(x)
    grid = _affine_grid(images, generator, shift, rotation, zoom, shear, flip)
    return _sample(images, grid, interpolation).reshape(x.shape)


@register_augmentation("elastic")
def elastic(
    x: Tensor,
    generator: torch.Generator,
    bend: float = 1.5,
    points: int = 5,
    shift: float = 1.0,
    rotation: float = 5.0,
    zoom: float = 0.05,
    shear: float = 0.0,
    flip: bool = False,
    interpolation: str = "bilinear",
) -> Tensor:
    """Bends each image smoothly, beside what `affine` does to it (Simard et al., ICDAR 2003).

    Points of a square grid over the image move by amounts drawn evenly; what lies between moves by their bicubic
    interpolation.

    Args:
        x: Images. (rows, height, width) or (rows, height, width, channels)
        generator: Generator on the CPU.
        bend: The farthest that a point of the grid moves along each axis, in pixels.
        points: Points of the grid along each axis.
        shift, rotation, zoom, shear, flip, interpolation: As for `affine`.

    Raises:
        ValueError: `x` holds no images, an amount is out of range, or there is no such interpolation.
    """
    if not bend >= 0 or points < 2:
        raise ValueError(f"bend={bend} must be 0 or more, and points={points} at least 2")
    images = with_channels(x)
    rows, height, width, _ = images.shape
    grid = _affine_grid(images, generator, shift, rotation, zoom, shear, flip)
    moves = bend * (2 * torch.rand(rows, 2, points, points, generator=generator) - 1).to(x.device)
    down, right = (_bicubic(points, size, x.device) for size in (height, width))
    between = torch.einsum("rcij,ih,jw->rhwc", moves, down, right)
    pixels = torch.tensor([2 / width, 2 / height], device=x.device)  # in the units of the grid
    return _sample(images, grid + between * pixels, interpolation).reshape(x.shape)


def _affine_grid(
    images: Tensor, generator: torch.Generator, shift: float, rotation: float, zoom: float, shear: float, flip: bool
) -> Tensor:
    """Where each pixel of the result lies in the images, from -1 to 1 along both axes: (rows, height, width, 2)."""
    if not min(shift, rotation, zoom, shear) >= 0 or not zoom < 1:
        raise ValueError(
            f"shift={shift}, rotation={rotation}, zoom={zoom} and shear={shear} must be 0 or more, and zoom below 1"
        )
    rows, height, width, _ = images.shape
    down, right, angle, tall, wide, slant = 2 * torch.rand(6, rows, generator=generator) - 1
    mirror = 1.0 - 2 * (torch.rand(rows, generator=generator) < (0.5 if flip else 0))
    angle = angle * math.radians(rotation)
    cos, sin = angle.cos(), angle.sin()
    across, along = (1 + zoom * wide) * mirror, 1 + zoom * tall
    slant = shear * slant
    matrix = torch.stack(
        (
            *(across * cos, across * (slant * cos - sin) * height / width, 2 * shift * right / width),
            *(along * sin * width / height, along * (slant * sin + cos), 2 * shift * down / height),
        ),
        dim=1,
    ).view(rows, 2, 3)
    matrix = matrix.to(images.device)
    # The same as `F.affine_grid` without its product of many small matrices, which takes longer than all else here.
    lines, columns = ((2 * torch.arange(size, device=images.device) + 1) / size - 1 for size in (height, width))
    by_column = matrix[:, None, :, 0] * columns[:, None]
    by_line = matrix[:, None, :, 1] * lines[:, None] + matrix[:, None, :, 2]
    return by_line[:, :, None] + by_column[:, None]


def _bicubic(points: int, size: int, device: torch.device) -> Tensor:
    """The share of each of some points, evenly spread, in their bicubic interpolation at each pixel: (points, size)."""
    each = torch.eye(points, device=device)[None, :, :, None]
    return F.interpolate(each, (size, 1), mode="bicubic", align_corners=True)[0, :, :, 0]


def _sample(images: Tensor, grid: Tensor, interpolation: str) -> Tensor:
    """The images at the points of a grid, 0 outside; whole-number pixels are rounded."""
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation={interpolation!r} must be one of {', '.join(INTERPOLATIONS)}")
    moved = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, interpolation, align_corners=False)
    moved = moved.permute(0, 2, 3, 1)
    return (moved if images.is_floating_point() else moved.round()).to(images.dtype)


def with_channels(x: Tensor) -> Tensor:
    """Images `(rows, height, width, channels)`.

    Raises:
        ValueError: `x` holds no images.
    """
    if x.dim() not in (3, 4):
        raise ValueError(f"augmentation needs images (rows, height, width[, channels]), got the shape {tuple(x.shape)}")
    return x if x.dim() == 4 else x.unsqueeze(3)


def _inside(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)
