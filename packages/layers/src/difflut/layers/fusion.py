"""Which layers may run as one operation: decided here alone, from what their classes promise.

A layer looks up where nothing of its own, of its node's or of a user's stands between input and output: `forward` and
`relaxed` are those of the classes that promise it, and there are no hooks. Then `kernels.lookup_stack` gives the same
numbers as calling the layers one after the other.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from difflut import kernels
from difflut.layers.group_sum import GroupSum
from difflut.layers.layer import Layer
from difflut.nodes import HardLookup, Node

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def trains_by_lookup(node: Node) -> bool:
    """Whether training the node is `kernels.lookup` with its `tables`, and nothing else."""
    promised = isinstance(node, HardLookup) and _has(node, "relaxed", HardLookup.relaxed)
    return promised and _has(node, "forward", Node.forward) and not _is_watched(node)


def is_lookup(layer: Layer) -> bool:
    """Whether at present the layer only looks up hard tables, with nothing around that in either pass."""
    config, node = layer.layer_config, layer.node
    if layer.training and (config.flip_probability or config.grad_stabilization != "none"):
        return False
    if not _has(layer, "forward", Layer.forward) or _is_watched(layer):
        return False
    if layer.is_relaxed:
        return _has(layer, "relaxed", Layer.relaxed) and trains_by_lookup(node)
    return _has(node, "forward", Node.forward) and not _is_watched(node)


def is_plain_sum(head: nn.Module) -> bool:
    """Whether the group sum only sums neighbouring features and divides."""
    return _has(head, "forward", GroupSum.forward) and not _is_watched(head) and not head.use_randperm


def bank(layer: Layer, needs_slope: bool, dtype: torch.dtype) -> kernels.HardBank:
    """What `kernels.lookup_stack` needs of a layer that `is_lookup`."""
    node = layer.node
    if layer.is_relaxed and isinstance(node, HardLookup):
        return kernels.HardBank(layer.placed_wiring(), *node.tables(needs_slope))
    hard = layer.hard()
    return kernels.HardBank(hard.reads, hard.tables.to(dtype), None)


def _has(module: nn.Module, name: str, promised: Callable[..., Any]) -> bool:
    """Whether the method is the promised one, not another of a subclass or of this instance."""
    return getattr(getattr(module, name), "__func__", None) is promised


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody wants to be told when the module is called."""
    return _has_any_global_hook() or any(getattr(module, kind) for kind in HOOKS)
