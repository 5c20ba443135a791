"""Several networks as one, whose votes are counted together."""

from collections.abc import Sequence
from copy import deepcopy

import torch

from difflut.layers import GroupSum, Layer
from difflut.models.graph import ENCODER, name_of
from difflut.models.networks import LUTNetwork
from difflut.registry import checked


@checked
def ensemble(networks: Sequence[LUTNetwork]) -> LUTNetwork:
    """One network that holds copies of all layers of the given ones, and counts the votes of all their heads.

    Its logits are the mean of theirs. Networks that were trained apart, from different seeds, err in different places;
    their sum is a LUT network like any other, in circuits, checkpoints and exports.

    Args:
        networks: Networks with the same encoder and the same group sum.

    Raises:
        ValueError: There are none, one has no group sum, or encoders or group sums differ or permute or learn.
    """
    if not networks:
        raise ValueError("networks=[] must hold at least one network")
    for number, network in enumerate(networks):
        _check_alike(networks[0], network, number)
    layers, heads = list[Layer](), list[str]()
    for number, network in enumerate(networks):
        names = {ENCODER: "encoder"}
        for i, layer in enumerate(network.layers):
            copy = deepcopy(layer)
            copy.reads = [names[source] for source in network.graph.sources[i]]
            copy.name = names[i] = f"member{number}_{name_of(i, layer)}"
            layers.append(copy)
        heads += [names[source] for source in network.head_sources]
    groupsum = _groupsum(networks[0], 0)
    head = GroupSum(groupsum.k, groupsum.tau * len(networks), reads=heads)
    return LUTNetwork(deepcopy(networks[0].encoder), layers, head.to(groupsum.permutation.device))


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
