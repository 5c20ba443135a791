"""Small networks of every node type, wiring and encoder."""

import math
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import torch

from difflut.encoders.detectors import edges
from difflut.layers import Layer
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES

Bank = Callable[..., Layer]


def _dense(layer: str, **options: Any) -> Callable[[Bank], list[Bank]]:
    return lambda bank: [partial(bank, layer, output_size=60, **options), partial(bank, "random", output_size=40)]


def _image(*after: Callable[[Bank], Bank]) -> Callable[[Bank], list[Bank]]:
    """A convolution, others behind it, and a dense layer."""

    def layers(bank: Bank) -> list[Bank]:
        first = partial(bank, "random", output_size=8, kernel_size=3, padding=1, name="first")
        return [first, *(make(bank) for make in after), partial(bank, "random", output_size=40)]

    return layers


# How the layers of a network are wired: from a function that makes one from a layer's name and options.
WIRINGS: dict[str, Callable[[Bank], list[Bank]]] = {
    "soft": _dense("learnable", selection="soft"),
    "top-8": _dense("learnable", top_k=8),
    "convolution": _image(lambda bank: partial(bank, "learnable", output_size=8, kernel_size=2, stride=2, top_k=8)),
    "pooling": _image(lambda bank: LAYERS["pool"]),
    "detectors": _image(),
    "tree": _image(lambda bank: partial(bank, "tree", n=2)),
    "skip": _image(
        lambda bank: partial(bank, "random", output_size=8, kernel_size=3, padding=1, name="second"),
        lambda bank: partial(LAYERS["merge"], reads=["first", "second"], name="both"),
        lambda bank: partial(bank, "random", output_size=8, kernel_size=2, reads=["both", "encoder"]),
    ),
}
IMAGES = ("convolution", "pooling", "detectors", "tree", "skip")


def known_wirings() -> dict[str, Callable[[Bank], list[Bank]]]:
    """`WIRINGS` and before them, by its name, every layer type that wires as many nodes as are asked for."""
    wired = [name for name, layer in LAYERS.items() if "output_size" in signature(layer).parameters]
    return {name: _dense(name) for name in wired} | WIRINGS


def small_network(node: str, wiring: str, encoder: str, x: torch.Tensor, n: int) -> tuple[LUTNetwork, torch.Tensor]:
    """A network as it starts, in evaluation mode, with its encoder fitted.

    Args:
        node: Name of the node type.
        wiring: One of `known_wirings`.
        encoder: Name of the encoder.
        x: Inputs `(rows, features)`.
        n: Inputs of a node, or the nearest number that its type may have.

    Returns:
        The network, and the inputs in the form in which it reads them: `(rows, features)` or `(rows, side, side)`.
    """

    def bank(layer: str, n: int = n, **options: Any) -> Layer:
        return LAYERS[layer](node_type=NODES[node], n=NODES[node].nearest_inputs(n), **options)

    detectors = edges() if wiring == "detectors" else None
    x = _as_image(x) if wiring in IMAGES else x
    x = _as_pixels(x) if detectors else x
    torch.manual_seed(0)
    fitted = ENCODERS[encoder](num_bits=4, detectors=detectors).fit(x)
    return network(x.shape[1:], 10, fitted, known_wirings()[wiring](bank)).eval(), x


def _as_image(x: torch.Tensor) -> torch.Tensor:
    """The largest square of features: `(rows, side, side)`."""
    side = math.isqrt(x.shape[1])
    return x[:, : side * side].view(-1, side, side)


def _as_pixels(x: torch.Tensor) -> torch.Tensor:
    """Bytes, into whose range other numbers are brought."""
    if x.dtype == torch.uint8:
        return x
    low, high = x.aminmax()
    return ((x - low) * (255 / (high - low))).byte()
