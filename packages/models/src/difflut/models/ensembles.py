"""Several networks as one, whose votes are counted together."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from difflut.encoders import Encoder, joining
from difflut.layers import GroupSum, Layer
from difflut.models import mirroring
from difflut.models.graph import ENCODER, name_of
from difflut.models.hardening import hardened
from difflut.models.networks import LUTNetwork
from difflut.models.rewiring import Moved, rewired, side_by_side
from difflut.registry import checked


@checked
def ensemble(networks: Sequence[LUTNetwork], mirrored: bool = False) -> LUTNetwork:
    """One network that holds copies of all layers of the given ones, and counts the votes of all their heads.

    Its logits are the mean of theirs. Networks that were trained apart, from different seeds, err in different places;
    their sum is a LUT network like any other, in circuits, checkpoints and exports.

    Args:
        networks: Networks with the same encoder and the same group sum.
        mirrored: Whether each network also votes on the image mirrored left to right, as a network of its own (see
            `mirrored`): twice the tables, and an encoder with the detectors of both, equal ones once. All are then
            `hardened`.

    Raises:
        ValueError: There are none, one has no group sum, encoders or group sums differ or permute or learn, or images
            cannot be mirrored.
    """
    if not networks:
        raise ValueError("networks=[] must hold at least one network")
    if mirrored:
        networks = [hardened(network) for network in networks]
    for number, network in enumerate(networks):
        _check_alike(networks[0], network, number)
    if mirrored:
        networks = [*networks, *map(mirroring.mirrored, networks)]
    encoder, encoded = _joined(networks)
    layers, heads = list[Layer](), list[str]()
    for number, (network, bits) in enumerate(zip(networks, encoded, strict=True)):
        names, moved = {ENCODER: "encoder"}, {ENCODER: bits}
        for i, (layer, sources) in enumerate(zip(network.layers, network.graph.sources, strict=True)):
            copy, moved[i] = rewired(layer, side_by_side([moved[source] for source in sources]))
            copy.reads = [names[source] for source in sources]
            copy.name = names[i] = f"member{number}_{name_of(i, layer)}"
            layers.append(copy)
        heads += [names[source] for source in network.head_sources]
    groupsum = _groupsum(networks[0], 0)
    head = GroupSum(groupsum.k, groupsum.tau * len(networks), reads=heads)
    return LUTNetwork(encoder, layers, head.to(groupsum.permutation.device))


def _joined(networks: Sequence[LUTNetwork]) -> tuple[Encoder | None, list[Moved]]:
    """One encoder, and where in its bits those that each network reads are, in the order in which layers read them."""
    encoders = [network.encoder for network in networks if network.encoder is not None]
    if not encoders:
        return None, [Moved.nowhere(network.encoded_size()) for network in networks]
    encoder, bits = joining.side_by_side(encoders)
    return encoder, [_in_order(network, of, encoder.output_size) for network, of in zip(networks, bits, strict=True)]


def _in_order(network: LUTNetwork, bits: Tensor, size: int) -> Moved:
    order, image = network.bit_order(), network.image_size()
    if order is None or image is None:
        return Moved(bits, size)
    places = torch.arange(size).view(-1, prod(image)).t().flatten()  # of each bit, counted by features
    return Moved(places[bits[order]], size)


def _check_alike(first: LUTNetwork, other: LUTNetwork, number: int) -> None:
    groupsum, expected = _groupsum(other, number), _groupsum(first, 0)
    if (groupsum.k, groupsum.tau) != (expected.k, expected.tau):
        raise ValueError(
            f"networks[{number}] counts {groupsum.k} classes with tau={groupsum.tau}, networks[0] {expected.k} with "
            f"tau={expected.tau}; an ensemble needs the same of both"
        )
    orders = first.bit_order() is None, other.bit_order() is None
    if (first.encoder is None) != (other.encoder is None) or orders[0] != orders[1]:
        raise ValueError(f"networks[{number}] reads other bits than networks[0]; an ensemble has one encoder")
    if first.encoder is not None and other.encoder is not None:
        if other.encoder.learnable:
            raise ValueError(f"networks[{number}] has learnable thresholds, which differ once they are trained")
        same = type(first.encoder) is type(other.encoder) and first.encoder.get_params() == other.encoder.get_params()
        if not same or not torch.equal(first.encoder.hard_thresholds(), other.encoder.hard_thresholds()):
            raise ValueError(
                f"networks[{number}] has another encoder than networks[0], or other thresholds; fit both on the same "
                "rows, as with dataset.validation_fraction = 0.0"
            )


def _groupsum(network: LUTNetwork, number: int) -> GroupSum:
    groupsum = network.groupsum
    if groupsum is None:
        raise ValueError(f"networks[{number}] has no group sum; an ensemble counts votes")
    if groupsum.use_randperm or not groupsum.tau_is_fixed:
        raise ValueError(f"networks[{number}]: an ensemble needs use_randperm=False and a fixed tau")
    return groupsum
