"""Networks of torchlogix, dense and convolutional."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.luts import ZERO
from difflut.circuits.imports.assembly import Assembly

if TYPE_CHECKING:
    from torch import nn


def from_torchlogix(model: "nn.Sequential", shape: Sequence[int]) -> Circuit:
    """An `nn.Sequential` of torchlogix: a binarization or none, logic layers, pooling, and `GroupSum` at the end.

    A state dict is loaded into its model first, since it has neither strides nor pooling. Tables and wiring are what
    the layers themselves compute in evaluation mode, whatever parametrization and connections they have.

    Args:
        model: Nested `nn.Sequential`s are taken apart; it is not changed.
        shape: Shape of an input, without the batch: `(features,)` or `(channels, height, width)`.

    Raises:
        ValueError: A layer is none of those, or does not fit what is before it.
    """
    import torch

    layers = list(_flat(copy.deepcopy(model).cpu().eval()))
    if not layers or _name(layers[-1]) != "GroupSum":
        raise ValueError("the last layer must be a GroupSum of torchlogix, which gives a circuit its classes")
    head = layers.pop()
    if head.beta != int(head.beta):
        raise ValueError(f"GroupSum.beta = {head.beta} must be a whole number, since a circuit counts ones")
    with torch.no_grad():
        thresholds = layers[0].get_thresholds() if layers and hasattr(layers[0], "get_thresholds") else None
        if thresholds is None:
            assembly = Assembly(shape)
        else:
            assembly = Assembly(shape, _of_each_feature(thresholds, shape))
            assembly.signals = _merged(assembly.signals, layers.pop(0).feature_dim)
        for layer in layers:
            _add(assembly, layer)
    return assembly.circuit(head.k, head.tau, int(head.beta))


def _flat(model: Any) -> Iterator[Any]:
    """The layers within nested sequences."""
    from torch import nn

    if isinstance(model, nn.Sequential):
        for child in model:
            yield from _flat(child)
    else:
        yield model


def _name(layer: Any) -> str:
    return type(layer).__name__


def _of_each_feature(thresholds: Any, shape: Sequence[int]) -> np.ndarray:
    """Thresholds of all features, of each feature or of each channel, as those of each feature."""
    array = thresholds.numpy()
    spatial = (1,) * (len(shape) - 1)
    array = array.reshape(array.shape[0], *spatial, -1) if array.ndim == 2 and len(shape) > 1 else array
    return np.broadcast_to(array, (*shape, array.shape[-1])).reshape(-1, array.shape[-1])


def _merged(signals: np.ndarray, axis: int) -> np.ndarray:
    """Moves the bits, the last axis, behind each entry of an axis of the batch, and joins both."""
    axis = axis % (signals.ndim + 1) - 1
    moved = np.moveaxis(signals, -1, axis + 1)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])


def _add(assembly: Assembly, layer: Any) -> None:
    add = LAYERS.get(_name(layer))
    if add is None:
        raise ValueError(
            f"{_name(layer)} is no layer that a circuit of torchlogix can be made of; there are {', '.join(LAYERS)}, "
            "and sequences of them"
        )
    add(assembly, layer)


def _dense(assembly: Assembly, layer: Any) -> None:
    pins = layer.connections(_batch(assembly.signals))[0]  # (n, nodes)
    tables = _tables(layer, layer.weight, "n,bn->bn", (pins.shape[1],))
    assembly.signals = assembly.look_up(pins.numpy().T[:, None], tables)[:, 0]


def _convolution(assembly: Assembly, layer: Any) -> None:
    """A tree of nodes at all positions: its levels are layers."""
    beyond = [(layer.padding, layer.padding)] * (assembly.signals.ndim - 1)
    signals = np.pad(assembly.signals, [(0, 0), *beyond], constant_values=ZERO)
    sizes = zip(signals.shape[1:], layer.receptive_field_size, strict=True)
    positions = [(size - field) // layer.stride + 1 for size, field in sizes]
    for level, weight in enumerate(layer.tree_weights):
        pins = layer.connections(_batch(signals), level)
        pins = (pins.movedim(-2, 1) if level else pins)[0].numpy()  # (n, kernels, positions, nodes)
        n, kernels, places, nodes = pins.shape
        tables = _tables(layer, weight, "fc,bcsf->bcsf", (kernels, 1, nodes)).reshape(kernels * nodes, -1)
        outputs = assembly.look_up(pins.transpose(1, 3, 2, 0).reshape(kernels * nodes, places, n), tables)
        signals = outputs.reshape(kernels, nodes, places).transpose(0, 2, 1)
    assembly.signals = signals.reshape(len(signals), *positions)


def _pooling(assembly: Assembly, layer: Any) -> None:
    """The largest entry of each window; beyond the border entries are 0."""
    dims = assembly.signals.ndim - 1
    size, stride, padding = (
        (extent,) * dims if isinstance(extent, int) else tuple(extent)
        for extent in (layer.kernel_size, layer.stride, layer.padding)
    )
    signals = np.pad(assembly.signals, [(0, 0), *((extent, extent) for extent in padding)], constant_values=ZERO)
    windows = np.lib.stride_tricks.sliding_window_view(signals, size, axis=tuple(range(1, dims + 1)))
    windows = windows[(slice(None), *(slice(None, None, step) for step in stride))]
    assembly.signals = assembly.any_of(windows.reshape(*windows.shape[: dims + 1], -1))


def _flatten(assembly: Assembly, layer: Any) -> None:
    assembly.signals = assembly.signals.reshape(-1)


def _nothing(assembly: Assembly, layer: Any) -> None:
    """A layer that does nothing in evaluation mode, or to bits."""


LAYERS: dict[str, Callable[[Assembly, Any], None]] = {
    "LogicDense": _dense,
    "LogicConv2d": _convolution,
    "LogicConv3d": _convolution,
    "OrPooling2d": _pooling,
    "OrPooling3d": _pooling,
    "Flatten": _flatten,
    "Identity": _nothing,
    "Dropout": _nothing,
    "DummyBinarization": _nothing,
}


def _batch(signals: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(signals))[None]


def _tables(layer: Any, weight: Any, contraction: str, nodes: tuple[int, ...]) -> np.ndarray:
    """What nodes give in evaluation mode for every value of their pins, the first of which is the lowest bit.

    Returns:
        `(*nodes, 2**n)` booleans.
    """
    import torch

    n = layer.lut_rank
    corners = torch.arange(2**n)[:, None] >> torch.arange(n) & 1
    x = corners.to(weight.dtype).reshape(2**n, n, *(1 for _ in nodes)).expand(2**n, n, *nodes)
    values = layer.parametrization.forward(x, weight, False, contraction)
    return np.moveaxis(values.numpy() > 0.5, 0, -1)
