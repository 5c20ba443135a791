"""Random wiring: which inputs each node reads."""

from collections.abc import Sequence

import torch
from torch import Tensor


def draw_wiring(
    input_size: int,
    num_nodes: int,
    n: int,
    generator: torch.Generator,
    image_shape: Sequence[int] | None = None,
    window: int | None = None,
    together: int = 1,
) -> Tensor:
    """Draws the inputs of every node, `(L, n)`: from windows of an image (`local_wiring`) or all (`random_wiring`).

    Raises:
        ValueError: Only one of `image_shape` and `window` is given, or they do not fit.
    """
    if (image_shape is None) != (window is None):
        raise ValueError(f"a wiring by windows needs both image_shape and window, got {image_shape} and {window}")
    if image_shape is None or window is None:
        return random_wiring(input_size, num_nodes, n, generator)
    return local_wiring(input_size, image_shape, window, num_nodes, n, generator, together)


def random_wiring(input_size: int, num_nodes: int, n: int, generator: torch.Generator) -> Tensor:
    """Draws the inputs of every node, spread as evenly as can be.

    Every input is used before any is used twice, and no node reads an input twice where there are at least n inputs.

    Args:
        input_size: Inputs to choose from.
        num_nodes: Nodes of the layer, L.
        n: Inputs of each node.
        generator: The source of randomness.

    Returns:
        Input indices `(L, n)`.
    """
    pins = num_nodes * n
    rounds = [torch.randperm(input_size, generator=generator)]
    for start in range(input_size, pins, input_size):
        previous = rounds[-1]
        # A node that begins in the last round and ends in this one must not meet its own inputs again: those go last.
        begun = previous[input_size - start % n :] if start % n else previous[:0]
        keys = torch.rand(input_size, generator=generator)
        keys[begun] += 1
        rounds.append(keys.argsort())
    return torch.cat(rounds)[:pins].view(num_nodes, n)


def local_wiring(
    input_size: int,
    image_shape: Sequence[int],
    window: int,
    num_nodes: int,
    n: int,
    generator: torch.Generator,
    together: int = 1,
) -> Tensor:
    """Draws the inputs of every node from one square window of an image.

    The windows lie evenly over the image, inside it; no node reads an input twice.

    Args:
        input_size: Inputs: those of a pixel (its channels, and the bits of each) follow each other, pixels row by row.
        image_shape: Height and width in pixels.
        window: Side of the windows in pixels.
        num_nodes: Nodes of the layer, L.
        n: Inputs of each node.
        generator: The source of randomness.
        together: How many nodes that follow each other share a window; it divides L.

    Returns:
        Input indices `(L, n)`.

    Raises:
        ValueError: The image has not that many inputs, or a window has less than n or does not fit the image.
    """
    height, width = image_shape
    depth = input_size // (height * width)
    if depth * height * width != input_size:
        raise ValueError(f"input_size={input_size} is not a multiple of image_shape={tuple(image_shape)}")
    if not 1 <= window <= min(height, width) or window**2 * depth < n:
        raise ValueError(
            f"window={window} must lie between 1 and {min(height, width)} and hold n={n} inputs, {depth} to a pixel"
        )
    places = random_wiring((height - window + 1) * (width - window + 1), num_nodes // together, 1, generator)
    places = places.repeat_interleave(together, 0)
    top, left = places // (width - window + 1), places % (width - window + 1)
    inside = torch.rand(num_nodes, window**2 * depth, generator=generator).topk(n).indices
    pixel, bit = inside // depth, inside % depth
    return ((top + pixel // window) * width + left + pixel % window) * depth + bit


def check_inputs(wiring: Tensor, input_size: int) -> None:
    """Raises a `ValueError` where input indices lie outside a layer's input."""
    lowest, highest = wiring.aminmax()
    if lowest < 0 or highest >= input_size:
        raise ValueError(f"the wiring reads inputs {int(lowest)} to {int(highest)}; input_size={input_size}")
