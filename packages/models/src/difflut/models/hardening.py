"""Networks reduced to what evaluation computes: fixed wiring, and tables of bits."""

from collections.abc import Mapping
from copy import deepcopy
from math import prod
from typing import Any

import torch
from torch import Tensor

from difflut.encoders import Encoder
from difflut.layers import Layer
from difflut.models.networks import LUTNetwork
from difflut.models.rewiring import fixed

THRESHOLDS = "encoder.thresholds"
INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)


def hardened(model: LUTNetwork) -> LUTNetwork:
    """A network that evaluates as this one does, bit for bit, and holds nothing that only training needs.

    Each layer that learns becomes a layer of fixed wiring with the same tables in `dwn` nodes, which may be trained on.
    Thresholds are those of evaluation. Group sum and layers without parameters are copies of the given network's.
    """
    layers = [_fixed(layer) if layer.has_parameters else deepcopy(layer) for layer in model.layers]
    return LUTNetwork(model.encoder and model.encoder.hardened(), layers, deepcopy(model.groupsum)).eval()


def _fixed(layer: Layer) -> Layer:
    hard = layer.hard()
    return fixed(layer, hard, hard.wiring, layer.input_size, getattr(layer, "kernel_size", None))


def pack(model: LUTNetwork) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state of a hardened network in few bytes.

    Returns:
        The state without the nodes that learned, whole numbers in small types, and thresholds that pixels share once;
        and the tables of each layer that learned, by its number, eight entries a byte.
    """
    learned = {str(i): layer for i, layer in enumerate(model.layers) if layer.has_parameters}
    nodes = tuple(f"layers.{number}.node." for number in learned)
    state = {key: _small(value) for key, value in model.state_dict().items() if not key.startswith(nodes)}
    if model.encoder is not None and model.encoder.fitted and model.encoder.feature_wise == "channels":
        once = state[THRESHOLDS][: _compared(model.encoder, state)[-1]].clone()
        if torch.equal(_of_all_pixels(model.encoder, state, once), state[THRESHOLDS]):
            state[THRESHOLDS] = once
    return state, {number: pack_bits(layer.hard().tables) for number, layer in learned.items()}


def unpack(model: LUTNetwork, state: Mapping[str, Tensor], tables: Mapping[str, Tensor]) -> dict[str, Any]:
    """The whole state of a network from what `pack` gave; loads its tables.

    Raises:
        ValueError: The tables of a layer have another number than its nodes need.
    """
    nodes = tuple(f"layers.{number}.node." for number in tables)
    for number, packed in tables.items():
        node = model.layers[int(number)].node
        shape = node.truth_table().shape
        if packed.dtype != torch.uint8 or packed.numel() != -(-shape.numel() // 8):
            raise ValueError(f"layer {number} needs {shape.numel()} table entries, got {8 * packed.numel()} bits")
        node.load_table(unpack_bits(packed, shape.numel()).view(shape).float())
    whole = {key: value for key, value in model.state_dict().items() if key.startswith(nodes)} | dict(state)
    if model.encoder is not None and model.encoder.feature_wise == "channels" and THRESHOLDS in state:
        whole[THRESHOLDS] = _of_all_pixels(model.encoder, state, state[THRESHOLDS])
    return whole


def _of_all_pixels(encoder: Encoder, state: Mapping[str, Tensor], thresholds: Tensor) -> Tensor:
    """The thresholds `(channels, K)` of one pixel for all pixels; others as they are."""
    *pixels, channels = _compared(encoder, state)
    if len(thresholds) != channels:
        return thresholds
    return thresholds.expand(prod(pixels), *thresholds.shape).reshape(-1, *thresholds.shape[1:])


def _compared(encoder: Encoder, state: Mapping[str, Tensor]) -> tuple[int, ...]:
    return encoder.compared_shape(state["encoder._extra_state"].tolist())


def pack_bits(bits: Tensor) -> Tensor:
    """Booleans of any shape, the first one in the lowest bit of the first byte: `(bytes,)` uint8."""
    flat = bits.flatten().to(torch.uint8)
    flat = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
    return (flat << torch.arange(8, dtype=torch.uint8, device=flat.device)).sum(1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, count: int) -> Tensor:
    """The first `count` bits of bytes: `(count,)` booleans."""
    return (packed[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).bool().flatten()[:count]


def _small(value: Tensor) -> Tensor:
    """Whole numbers in the smallest type that holds them; other tensors as they are."""
    if value.is_floating_point() or not value.numel():
        return value
    low, high = int(value.min()), int(value.max())
    return value.to(next(kind for kind in INTEGERS if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max))
