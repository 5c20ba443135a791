"""Networks that see images mirrored."""

from copy import deepcopy

import torch

from difflut.encoders import joining
from difflut.layers import GroupSum
from difflut.models.graph import ENCODER
from difflut.models.hardening import hardened
from difflut.models.networks import LUTNetwork
from difflut.models.rewiring import Moved, rewired, side_by_side
from difflut.registry import checked


@checked
def mirrored(network: LUTNetwork) -> LUTNetwork:
    """A network that gives for an image what the given one gives for the image mirrored left to right, bit for bit.

    Kernels of detectors are mirrored, thresholds where each pixel has its own, and wirings; tables stay what they are.
    So it is a hard network like any other, in circuits, checkpoints and exports (see `hardened`).

    Args:
        network: A fitted encoder of images, or convolutions that read them without one.

    Raises:
        ValueError: The network reads no images, a convolution reads what is no image, or the pixels of a line count to
            different classes.
    """
    network = hardened(network)
    moved = {ENCODER: _encoded(network)}
    encoder = network.encoder and joining.mirrored(network.encoder, *_image_size(network))
    layers = []
    for number, (layer, sources) in enumerate(zip(network.layers, network.graph.sources, strict=True)):
        try:
            made, moved[number] = rewired(layer, side_by_side([moved[source] for source in sources]))
        except ValueError as error:
            raise ValueError(f"layers[{number}]: {error}") from None
        layers.append(made)
    _check_head(network.groupsum, [moved[source] for source in network.head_sources])
    return LUTNetwork(encoder, layers, deepcopy(network.groupsum)).eval()


def _encoded(network: LUTNetwork) -> Moved:
    """Where the bits of an image are among those of the mirrored one, in the order in which layers read them."""
    height, width = _image_size(network)
    rows = torch.arange(network.encoded_size())
    if network.image_size() is None:
        return Moved(rows.view(height, width, -1).flip(1).flatten(), len(rows))
    return Moved(rows.view(-1, height, width).flip(2).flatten(), len(rows))


def _image_size(network: LUTNetwork) -> tuple[int, int]:
    size, encoder = network.image_size(), network.encoder
    if size is not None:
        return size
    shape = () if encoder is None else encoder.feature_shape
    if len(shape) not in (2, 3):
        raise ValueError(
            f"the network reads features of shape {shape}, and only images can be mirrored: fit its encoder on images "
            "(height, width[, channels]), or give its first layer a kernel_size"
        )
    return shape[0], shape[1]


def _check_head(groupsum: GroupSum | None, moved: list[Moved]) -> None:
    """Raises a `ValueError` where mirrored outputs count to other classes than before."""
    groups = (
        torch.arange(moved[0].features) if groupsum is None else groupsum.groups(*(of.features for of in moved)).cpu()
    )
    if not torch.equal(groups[side_by_side(moved).rows], groups):
        classes = (
            "not summed"
            if groupsum is None
            else f"counted to k={groupsum.k} classes, use_randperm={groupsum.use_randperm}"
        )
        raise ValueError(
            f"the pixels of the last layer's images are {classes}, and mirrored ones come at other places: make its "
            "channels a multiple of k, without use_randperm, or add a dense layer"
        )
