"""Initializers: functions that fill a tensor in place, in the manner of `torch.nn.init`.

Most fill a node's weights, `(L, fan_out, fan_in)`: a bank is `L` independent matrices, so the fans are those of one.
Those under `@of_table` fill a soft table `(L, m, 2**n)` instead, and the node finds the parameters that give it, so
they mean the same for every node type.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from difflut.nodes.corners import corners
from difflut.registry import register_initializer

Initializer = TypeVar("Initializer", bound=Callable[..., Any])


def of_table(initializer: Initializer) -> Initializer:
    """Marks an initializer that fills the soft table rather than the weights."""
    vars(initializer)["fills_table"] = True
    return initializer


@register_initializer("zeros")
def zeros(tensor: Tensor) -> None:
    """Every entry 0."""
    nn.init.zeros_(tensor)


@register_initializer("ones")
def ones(tensor: Tensor) -> None:
    """Every entry 1."""
    nn.init.ones_(tensor)


@register_initializer("normal")
def normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> None:
    """Normally distributed entries."""
    nn.init.normal_(tensor, mean, std)


@register_initializer("uniform")
def uniform(tensor: Tensor, a: float = -1.0, b: float = 1.0) -> None:
    """Entries spread evenly over [a, b]."""
    nn.init.uniform_(tensor, a, b)


@register_initializer("xavier_uniform")
def xavier_uniform(tensor: Tensor, gain: float = 1.0) -> None:
    """Glorot and Bengio (2010), uniform: variance `2 gain**2 / (fan_in + fan_out)`."""
    _uniform_with_std(tensor, gain * math.sqrt(2 / sum(_fans(tensor))))


@register_initializer("xavier_normal")
def xavier_normal(tensor: Tensor, gain: float = 1.0) -> None:
    """Glorot and Bengio (2010), normal: variance `2 gain**2 / (fan_in + fan_out)`."""
    nn.init.normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))))


@register_initializer("kaiming_uniform")
def kaiming_uniform(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> None:
    """He et al. (2015), uniform: variance `gain**2 / fan`."""
    _uniform_with_std(tensor, _kaiming_std(tensor, a, mode, nonlinearity))


@register_initializer("kaiming_normal")
def kaiming_normal(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> None:
    """He et al. (2015), normal: variance `gain**2 / fan`."""
    nn.init.normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


@register_initializer("residual")
@of_table
def residual(table: Tensor, clarity: float = 0.9) -> None:
    """Each node starts as its first input: the table is `clarity` where bit 0 is set and `1 - clarity` elsewhere.

    Convolutional logic gate networks (arXiv 2411.04732, section 3.3) start so, which keeps deep networks trainable.

    Raises:
        ValueError: `clarity` is not between one half and one.
    """
    if not 0.5 < clarity < 1:
        raise ValueError(f"clarity={clarity} must lie between 0.5 and 1, both excluded")
    first_bit = corners(_address_bits(table), like=table)[:, 0]
    table.copy_((1 - clarity) + (2 * clarity - 1) * first_bit)


@register_initializer("variance_stabilized")
@of_table
def variance_stabilized(table: Tensor, v_target: float = 1.0) -> None:
    """Logits of variance `4 v_target / (n + m)`: entries of the soft table near one half, where gradients flow.

    The factor 4 undoes the sigmoid's slope of 1/4; n and m are the node's inputs and outputs.

    Raises:
        ValueError: `v_target` is not positive.
    """
    if v_target <= 0:
        raise ValueError(f"v_target={v_target} must be positive")
    std = math.sqrt(4 * v_target / (_address_bits(table) + table.shape[-2]))
    table.copy_(torch.sigmoid(std * torch.randn_like(table)))


def _address_bits(table: Tensor) -> int:
    return table.shape[-1].bit_length() - 1


def _fans(weight: Tensor) -> tuple[int, int]:
    return weight.shape[-1], weight.shape[-2]


def _kaiming_std(weight: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = _fans(weight)
    fans = {"fan_in": fan_in, "fan_out": fan_out}
    if mode not in fans:
        raise ValueError(f"mode={mode!r} must be 'fan_in' or 'fan_out'")
    if a and nonlinearity != "leaky_relu":
        raise ValueError(f"a={a} is the slope of nonlinearity='leaky_relu' below 0; {nonlinearity!r} has none")
    gain = nn.init.calculate_gain(nonlinearity, a)  # type: ignore[arg-type]  # refuses a name that it does not know
    return gain / math.sqrt(fans[mode])


def _uniform_with_std(tensor: Tensor, std: float) -> None:
    nn.init.uniform_(tensor, -math.sqrt(3) * std, math.sqrt(3) * std)
