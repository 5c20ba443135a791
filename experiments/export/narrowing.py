"""Inputs of few bits: thresholds are moved to the nearest ones that such words tell apart.

That changes what the network computes.
"""

import copy

import torch

from difflut.circuits import Circuit, fixed_point_words
from difflut.config import ConfigurationError
from difflut.encoders.snapping import PIXEL_BITS
from difflut.models import LUTNetwork
from difflut.training import predict
from experiments.data import Dataset

SMALLEST = "smallest"
FEWEST = 2


def narrowed(network: LUTNetwork, data: Dataset, max_width: int | str) -> LUTNetwork:
    """The network whose thresholds words of `max_width` bits tell apart: the same one where they do already.

    Args:
        max_width: "smallest" is the fewest bits with which as many validation rows are right as before.

    Raises:
        ConfigurationError: There are no validation rows to search with.
    """
    if network.encoder is None:
        return network
    needed_bits = _needed_bits(network, data)
    if isinstance(max_width, int):
        return network if needed_bits <= max_width else _snapped(network, data, max_width)
    if not len(data.x_val):
        raise ConfigurationError(
            'export.max_width = "smallest" needs validation rows, and there are none; set a number'
        )
    before = _validation_accuracy(network, data)
    for bits in range(FEWEST, needed_bits):
        snapped = _snapped(network, data, bits)
        if (after := _validation_accuracy(snapped, data)) >= before:
            print(
                f"words of {bits} bits instead of {needed_bits}: "
                f"validation accuracy {before:.2%} before, {after:.2%} after"
            )
            return snapped
    return network


def _needed_bits(network: LUTNetwork, data: Dataset) -> int:
    if _pixels(data) and not (network.encoder and network.encoder.detectors):
        return PIXEL_BITS
    words = fixed_point_words(Circuit.from_model(network))
    return max(words.needed, int(words.compared.max()))


def _snapped(network: LUTNetwork, data: Dataset, bits: int) -> LUTNetwork:
    network = copy.deepcopy(network)
    if network.encoder is not None:
        network.encoder.snap(bits, _pixels(data))
    return network


def _validation_accuracy(network: LUTNetwork, data: Dataset) -> float:
    return (predict(network, data.x_val) == data.y_val).double().mean().item()


def _pixels(data: Dataset) -> bool:
    return data.x_test.dtype == torch.uint8
