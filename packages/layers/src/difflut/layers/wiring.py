"""Random wiring: which inputs each node reads."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from difflut.kernels import Placements


def draw_wiring(
    placements: Placements,
    num_nodes: int,
    n: int,
    generator: torch.Generator,
    *,
    image_shape: Sequence[int] | None = None,
    window: int | None = None,
    channels_per_node: int | None = None,
    groups: int = 1,
    together: int = 1,
    again: torch.Generator | None = None,
) -> Tensor:
    """Draws what every node reads of the window, `(L, n)`: from all of it, from few channels, or from a local part.

    A dense layer's window is its whole input; there `image_shape` and `window` keep nodes to parts of an image
    (`local_wiring`). In a convolution every node keeps to the window, and `channels_per_node` and `groups` say to which
    channels (`channel_wiring`). With `again` only those channels and parts follow from the generator; what nodes read
    there follows from `again`.

    Raises:
        ValueError: Options that do not go together, or do not fit.
    """
    if together < 1 or num_nodes % together:
        raise ValueError(f"together={together} must be a divisor of the layer's nodes")
    if (image_shape is None) != (window is None):
        raise ValueError(f"a wiring by windows needs both image_shape and window, got {image_shape} and {window}")
    if image_shape is not None and window is not None:
        if not placements.is_dense or channels_per_node is not None or groups != 1:
            raise ValueError(
                f"window={window} is for dense layers without channels; a convolution's window is its kernel_size"
            )
        return local_wiring(placements.features, image_shape, window, num_nodes, n, generator, together, again)
    if channels_per_node is None and groups == 1:
        return random_wiring(placements.window, num_nodes, n, again or generator)
    return channel_wiring(placements, num_nodes, n, generator, channels_per_node, groups, together, again)


def reach(
    placements: Placements,
    image_shape: Sequence[int] | None,
    window: int | None,
    channels_per_node: int | None,
    groups: int,
) -> int:
    """Inputs from which those of a node are drawn by `draw_wiring`."""
    if image_shape is not None and window is not None:
        return window**2 * placements.features // prod(image_shape)
    channels = placements.channels // groups if channels_per_node is None else channels_per_node
    return channels * prod(placements.kernel)


def check_together(together: int, window: int | None, channels_per_node: int | None, groups: int) -> None:
    """Raises a `ValueError` where nodes are to share windows or channels, and are not kept to any."""
    if together != 1 and window is None and channels_per_node is None and groups == 1:
        raise ValueError(f"together={together} needs window, channels_per_node or groups, which nodes can share")


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
    first = torch.randperm(input_size, generator=generator)
    later = -(-pins // input_size) - 1
    rounds = np.empty((later + 1, input_size), np.int64)
    rounds[0] = first
    # All keys are drawn at once, and sorted in numpy: of few inputs there are thousands of rounds.
    keys = torch.rand(later, input_size, generator=generator).numpy()
    for number in range(1, later + 1):
        # A node that begins in the last round and ends in this one must not meet its own inputs again: those go last.
        if begun := number * input_size % n:
            keys[number - 1, rounds[number - 1, input_size - begun :]] += 1
        rounds[number] = keys[number - 1].argsort(kind="stable")
    return torch.from_numpy(rounds).flatten()[:pins].view(num_nodes, n)


def local_wiring(
    input_size: int,
    image_shape: Sequence[int],
    window: int,
    num_nodes: int,
    n: int,
    generator: torch.Generator,
    together: int = 1,
    again: torch.Generator | None = None,
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
        together: Number of neighbouring nodes that share a window; it divides L.
        again: The source of what nodes read in their windows, if another.

    Returns:
        Input indices `(L, n)`.

    Raises:
        ValueError: The image has not that many inputs, or a window has less than n or does not fit the image.
    """
    if len(image_shape) != 2:
        raise ValueError(
            f"image_shape={tuple(image_shape)} must be (height, width); the channels follow from input_size"
        )
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
    inside = torch.rand(num_nodes, window**2 * depth, generator=again or generator).topk(n).indices
    pixel, bit = inside // depth, inside % depth
    return ((top + pixel // window) * width + left + pixel % window) * depth + bit


def channel_wiring(
    placements: Placements,
    num_nodes: int,
    n: int,
    generator: torch.Generator,
    channels_per_node: int | None,
    groups: int = 1,
    together: int = 1,
    again: torch.Generator | None = None,
) -> Tensor:
    """Draws the inputs of every node from few channels of its window; channels are used as evenly as can be.

    Few channels a node keep what it reads correlated (arXiv 2411.04732, section 3.1: two are better than eight).

    Args:
        placements: Placements of the layer.
        num_nodes: Nodes of the layer, L.
        n: Inputs of each node, none read twice.
        generator: The source of randomness.
        channels_per_node: Channels that a node may read; all of its group where not given.
        groups: Equal parts of the channels; the nodes are divided among them in order.
        together: Number of neighbouring nodes that share their channels; it divides L.
        again: The source of what nodes read in their channels, if another.

    Returns:
        Positions in the window `(L, n)`.

    Raises:
        ValueError: The channels do not divide, there are not so many, or they hold less than n inputs.
    """
    if groups < 1 or placements.channels % groups or num_nodes // together % groups:
        raise ValueError(
            f"groups={groups} must divide the {placements.channels} channels and the {num_nodes // together} nodes"
        )
    members, area = placements.channels // groups, placements.kernel[0] * placements.kernel[1]
    chosen = members if channels_per_node is None else channels_per_node
    if not 1 <= chosen <= members or chosen * area < n:
        raise ValueError(
            f"channels_per_node={channels_per_node} must lie between 1 and {members}, the channels of a group, "
            f"and hold n={n} inputs, {area} to a channel"
        )
    sharing = num_nodes // together
    group = torch.arange(sharing) * groups // sharing
    channels = random_wiring(members, sharing, chosen, generator) + (group * members)[:, None]
    inside = torch.rand(num_nodes, chosen * area, generator=again or generator).topk(n).indices
    return channels.repeat_interleave(together, 0).gather(1, inside // area) * area + inside % area


def check_inputs(wiring: Tensor, inputs: int) -> None:
    """Raises a `ValueError` where a wiring reads inputs that there are not."""
    lowest, highest = wiring.aminmax()
    if lowest < 0 or highest >= inputs:
        raise ValueError(f"the wiring reads inputs {int(lowest)} to {int(highest)}, of {inputs}")
