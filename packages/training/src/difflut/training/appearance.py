"""Random changes of what images show, beside those of where it lies, and several changes in turn."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from difflut.registry import register_augmentation
from difflut.training.augmentations import shift, with_channels


@register_augmentation("cutout")
def cutout(x: Tensor, generator: torch.Generator, side: int = 8) -> Tensor:
    """Sets a square of each image to 0 (arXiv 1708.04552); its centre is any pixel, so it may lie partly outside.

    Args:
        x: Images. (rows, height, width) or (rows, height, width, channels)
        generator: Generator on the CPU.
        side: Side of the square in pixels.

    Raises:
        ValueError: `x` holds no images, or `side` is not positive.
    """
    if side < 1:
        raise ValueError(f"side={side} must be 1 or more")
    images = with_channels(x)
    rows, height, width, _ = images.shape
    top = (torch.randint(height, (rows, 1), generator=generator) - side // 2).to(x.device)
    left = (torch.randint(width, (rows, 1), generator=generator) - side // 2).to(x.device)
    line, column = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    lines, columns = (line >= top) & (line < top + side), (column >= left) & (column < left + side)
    inside = lines[:, :, None] & columns[:, None, :]
    return (images * ~inside[..., None]).view_as(x)


@register_augmentation("colours")
def colours(
    x: Tensor, generator: torch.Generator, brightness: float = 0.2, contrast: float = 0.2, tint: float = 0.1
) -> Tensor:
    """Changes brightness, contrast and tint of each image by factors drawn evenly from `1 - amount` to `1 + amount`.

    Whole-number pixels are rounded and stay within their type, so 0 to 255 for bytes.

    Args:
        x: Images. (rows, height, width) or (rows, height, width, channels)
        generator: Generator on the CPU.
        brightness: The most by which all values are multiplied.
        contrast: The most by which distances from the mean of the image's channel are.
        tint: The most by which each channel is, on its own.

    Raises:
        ValueError: `x` holds no images, or an amount is not from 0 to 1.
    """
    if not 0 <= min(brightness, contrast, tint) <= max(brightness, contrast, tint) <= 1:
        raise ValueError(f"brightness={brightness}, contrast={contrast} and tint={tint} must lie between 0 and 1")
    images = with_channels(x)
    rows, _, _, channels = images.shape
    drawn = 2 * torch.rand(2 + channels, rows, generator=generator).to(x.device) - 1
    scale = (1 + brightness * drawn[0, :, None]) * (1 + tint * drawn[2:].t())
    values = images.float()
    mean = values.mean((1, 2), keepdim=True)
    changed = (mean + (values - mean) * (1 + contrast * drawn[1, :, None, None, None])) * scale[:, None, None, :]
    if not images.is_floating_point():
        limits = torch.iinfo(images.dtype)
        changed = changed.round().clamp(limits.min, limits.max)
    return changed.to(images.dtype).view_as(x)


@register_augmentation("in_turn")
def in_turn(
    x: Tensor,
    generator: torch.Generator,
    steps: Sequence[Callable[[Tensor, torch.Generator], Tensor]] = (shift, cutout),
) -> Tensor:
    """Several augmentations, one after the other.

    Args:
        x: Inputs. (rows, *features)
        generator: Generator on the CPU, from which each draws in its turn.
        steps: Augmentations.

    Raises:
        ValueError: There are none.
    """
    if not steps:
        raise ValueError("steps=[] must hold at least one augmentation, such as @augmentations.shift")
    for change in steps:
        x = change(x, generator)
    return x
