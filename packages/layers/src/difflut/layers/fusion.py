"""Which layers may run as one operation. This is decided here alone, from what the classes of layers promise.

A layer looks up where nothing of its own, of its node's or of a user's stands between input and output: `forward` and
`relaxed` are those of the classes that promise it, and there are no hooks. Then `kernels.lookup_graph` gives the same
numbers as calling the layers one after the other. So do maxima of bits, as in pooling and where paths join. In the same
way layers that form trees of multilinear extensions run as `kernels.multilinear_tree`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from difflut import kernels
from difflut.layers.given import Given
from difflut.layers.group_sum import GroupSum
from difflut.layers.layer import Layer
from difflut.layers.pool import Pool
from difflut.layers.tree import Tree
from difflut.nodes import Extension, HardLookup, Node

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def trains_by_lookup(node: Node) -> bool:
    """Whether training the node is `kernels.lookup` with its `tables`, and nothing else."""
    promised = isinstance(node, HardLookup) and _has(node, "relaxed", HardLookup.relaxed)
    return promised and _has(node, "forward", Node.forward) and not _is_watched(node)


def is_lookup(layer: Layer) -> bool:
    """Whether at present the layer only looks up hard tables, with nothing else in the forward or backward pass."""
    node = layer.node
    if not _is_plain(layer):
        return False
    if layer.is_relaxed:
        smoothed = isinstance(layer, Given) and layer.relaxation == "smoothed" and _has(layer, "relaxed", Given.relaxed)
        return (smoothed or _has(layer, "relaxed", Layer.relaxed)) and trains_by_lookup(node)
    return _has(node, "forward", Node.forward) and not _is_watched(node)


def is_extension(layer: Layer) -> bool:
    """Whether at present the layer only computes the multilinear extension of its nodes' tables."""
    node = layer.node
    promised = isinstance(node, Extension) and _has(node, "relaxed", Extension.relaxed)
    promised = promised and _has(node, "forward", Node.forward) and _has(layer, "relaxed", Layer.relaxed)
    return promised and layer.is_relaxed and _is_plain(layer) and not _is_watched(node)


def is_level(layer: Layer) -> bool:
    """Whether it `is_extension` whose node l reads the outputs n l to n l + n - 1 of the layer before."""
    return isinstance(layer, Tree) and _has(layer, "wiring", Tree.wiring) and is_extension(layer)


def is_maximum(layer: Layer) -> bool:
    """Whether at present the layer is the largest or the smallest of what each node reads."""
    promised = isinstance(layer, Given) and _has(layer, "relaxed", Given.relaxed) and layer.relaxation == "maximum"
    return promised and layer.is_relaxed and _is_plain(layer) and not _is_watched(layer.node)


def is_pooling(layer: Layer) -> bool:
    """Whether it `is_maximum` and takes the largest of windows that lie side by side."""
    places = layer.placements
    side_by_side = places.stride == places.kernel and not any(places.padding)
    promised = isinstance(layer, Pool) and layer.operation == "or" and _has(layer, "wiring", Given.wiring)
    return promised and side_by_side and is_maximum(layer)


def gives_bits(layer: Layer) -> bool:
    """Whether a layer that `is_lookup`, or `is_maximum` of bits, gives bits."""
    return not layer.is_relaxed or layer.node.gives_bits


def is_plain_sum(head: nn.Module) -> bool:
    """Whether the group sum only sums neighbouring features and divides."""
    return _has(head, "forward", GroupSum.forward) and not _is_watched(head) and not head.use_randperm


def bank(layer: Layer, needs_slope: bool, dtype: torch.dtype) -> kernels.HardBank | kernels.Maximum:
    """A layer that `is_lookup` or `is_maximum`, in the form that `kernels.lookup_graph` takes."""
    node = layer.node
    if is_maximum(layer):
        return kernels.Maximum(layer.placed_wiring(), layer.operation == "and")
    if layer.is_relaxed and isinstance(node, HardLookup):
        return kernels.HardBank(layer.placed_wiring(), *node.tables(needs_slope))
    hard = layer.hard()
    return kernels.HardBank(hard.reads, hard.tables.to(dtype), None)


def tree(x: Tensor | kernels.Bits, layers: Sequence[Layer]) -> Tensor:
    """A layer that `is_extension`, those after it that are levels, and maybe a maximum, as one operation."""
    tables = [layer.node.training_table() for layer in layers if isinstance(layer.node, Extension)]
    use_cuda = all(layer.node.use_cuda for layer in layers)
    pool = layers[-1].placements.kernel if is_pooling(layers[-1]) else (1, 1)
    return kernels.multilinear_tree(x, layers[0].placed_wiring(), tables, pool, use_cuda=use_cuda)


def _is_plain(layer: Layer) -> bool:
    """Whether the layer does nothing else with its inputs and outputs."""
    config = layer.layer_config
    if layer.training and (config.flip_probability or config.grad_stabilization != "none"):
        return False
    return _has(layer, "forward", Layer.forward) and not _is_watched(layer)


def _has(module: nn.Module, name: str, promised: Callable[..., Any]) -> bool:
    """Whether the method is the promised one; a subclass or this instance may have replaced it."""
    return getattr(getattr(module, name), "__func__", None) is promised


def _is_watched(module: nn.Module) -> bool:
    """Whether the module has hooks, which must see each call."""
    return _has_any_global_hook() or any(getattr(module, kind) for kind in HOOKS)
