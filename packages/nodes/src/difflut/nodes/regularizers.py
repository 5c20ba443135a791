"""Regularizers: functions of a node that return a differentiable scalar, exact over the whole table."""

import torch
from torch import Tensor

from difflut.nodes.corners import corners, walsh_matrix
from difflut.nodes.node import Node
from difflut.registry import register_regularizer


@register_regularizer("functional")
@register_regularizer("l")
def l(node: Node, p: float = 2.0) -> Tensor:  # noqa: E743
    """How much the function changes when one input flips: the mean over addresses and bits of `|T[a] - T[a ^ 2^l]|^p`.

    Raises:
        ValueError: `p` is less than 1, where entries that are equal have no finite gradient.
    """
    if p < 1:
        raise ValueError(f"p={p} must be at least 1")
    table = node.soft_table()
    addresses = torch.arange(table.shape[-1], device=table.device)
    flips = [table - table[..., addresses ^ (1 << bit)] for bit in range(node.input_dim)]
    return torch.stack(flips).abs().pow(p).mean()


@register_regularizer("l1")
def l1(node: Node) -> Tensor:
    """`l` with p = 1."""
    return l(node, p=1.0)


@register_regularizer("l2")
def l2(node: Node) -> Tensor:
    """`l` with p = 2."""
    return l(node, p=2.0)


@register_regularizer("fourier")
@register_regularizer("walsh")
@register_regularizer("spectral")
def spectral(node: Node, degree_power: float = 1.0) -> Tensor:
    """The Walsh spectrum's energy by degree, `sum_S |S|^degree_power * c_S^2`, averaged over the tables.

    With `degree_power=0` it would be plain L2 (Parseval), so higher degrees, the rougher parts of the function, weigh
    more by default; 1 gives a quarter of the total influence.

    Raises:
        ValueError: `degree_power` is negative, and the constant would weigh without bound.
    """
    if degree_power < 0:
        raise ValueError(f"degree_power={degree_power} must be at least 0")
    table = node.soft_table()
    degrees = corners(node.input_dim, like=table).sum(1)
    spectrum = table @ walsh_matrix(node.input_dim, like=table) / table.shape[-1]
    return (degrees**degree_power * spectrum**2).sum(-1).mean()
