"""Which layers may run as one operation. This is decided here alone, from what the classes of layers promise.

A layer looks up where nothing of its own, of its node's or of a user's stands between input and output: `forward` and
`relaxed` are those of the classes that promise it, and there are no hooks. Then `kernels.lookup_graph` gives the same
numbers as calling the layers one after the other. So do maxima of bits, as in pooling and where paths join. In the same
way layers that form trees of multilinear extensions run as `kernels.multilinear_tree`, and dense layers of them as
`kernels.multilinear_chain`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.layers.given import Given
from difflut.layers.group_sum import GroupSum
from difflut.layers.layer import Layer
from difflut.layers.learnable import Learnable
from difflut.layers.pool import Pool
from difflut.layers.tree import Tree
from difflut.nodes import Extension, GivenMaximum, HardLookup, Node
from difflut.nodes.promises import has, is_watched, trains_by_lookup


def is_lookup(layer: Layer) -> bool:
    """Whether at present the layer only looks up hard tables, with nothing else in the forward or backward pass."""
    node = layer.node
    if not _is_plain(layer):
        return False
    if layer.is_relaxed:
        settled = isinstance(layer, Learnable) and has(layer, "relaxed", Learnable.relaxed) and not layer.learns_wiring
        return (settled or has(layer, "relaxed", Layer.relaxed)) and trains_by_lookup(node)
    return has(node, "forward", Node.forward) and not is_watched(node)


def is_learned_lookup(layer: Layer) -> bool:
    """Whether at present the layer only looks up hard tables behind a wiring that learns, on a CPU."""
    if not isinstance(layer, Learnable) or not has(layer, "relaxed", Learnable.relaxed) or not layer.is_relaxed:
        return False
    learns = layer.learns_wiring and layer.selection == "straight_through" and layer.logits.device.type == "cpu"
    return learns and _is_plain(layer) and trains_by_lookup(layer.node)


def is_extension(layer: Layer) -> bool:
    """Whether at present the layer only computes the multilinear extension of its nodes' tables."""
    node = layer.node
    promised = isinstance(node, Extension) and has(node, "relaxed", Extension.relaxed)
    promised = promised and has(node, "forward", Node.forward) and has(layer, "relaxed", Layer.relaxed)
    return promised and layer.is_relaxed and _is_plain(layer) and not is_watched(node)


def is_dense_extension(layer: Layer) -> bool:
    """Whether it `is_extension` and reads no image."""
    return layer.placements.is_dense and is_extension(layer)


def is_level(layer: Layer) -> bool:
    """Whether it `is_extension` whose node l reads the outputs n l to n l + n - 1 of the layer before."""
    return isinstance(layer, Tree) and has(layer, "wiring", Tree.wiring) and is_extension(layer)


def is_maximum(layer: Layer) -> bool:
    """Whether at present the layer is the largest or the smallest of what each node reads."""
    node = layer.node
    promised = isinstance(node, GivenMaximum) and has(node, "relaxed", GivenMaximum.relaxed)
    promised = promised and has(node, "forward", Node.forward) and has(layer, "relaxed", Layer.relaxed)
    return promised and layer.is_relaxed and _is_plain(layer) and not is_watched(node)


def is_pooling(layer: Layer) -> bool:
    """Whether it `is_maximum` and takes the largest of windows that lie side by side."""
    places = layer.placements
    side_by_side = places.stride == places.kernel and not any(places.padding)
    promised = isinstance(layer, Pool) and layer.operation == "or" and has(layer, "wiring", Given.wiring)
    return promised and side_by_side and is_maximum(layer)


def gives_bits(layer: Layer) -> bool:
    """Whether a layer that `is_lookup` or `is_learned_lookup`, or `is_maximum` of bits, gives bits."""
    return not layer.is_relaxed or layer.node.gives_bits


def is_plain_sum(head: nn.Module) -> bool:
    """Whether the group sum only sums neighbouring features and divides."""
    return has(head, "forward", GroupSum.forward) and not is_watched(head) and not head.use_randperm


def bank(layer: Layer, needs_slope: bool, dtype: torch.dtype) -> kernels.Bank:
    """A layer that may be part of a run, in the form that `kernels.lookup_graph` takes."""
    node = layer.node
    if isinstance(layer, Learnable) and layer.learns_wiring and isinstance(node, HardLookup) and layer.is_relaxed:
        return layer.bank(node)
    if is_maximum(layer):
        return kernels.Maximum(layer.placed_wiring(), layer.operation == "and")
    if layer.is_relaxed and isinstance(node, HardLookup):
        return kernels.HardBank(layer.placed_wiring(), *node.tables(needs_slope))
    hard = layer.hard()
    return kernels.HardBank(hard.reads, hard.tables.to(dtype), None)


def tree(x: Tensor | kernels.Bits, layers: Sequence[Layer]) -> Tensor:
    """Layers that `is_extension` as one operation: dense ones, or one, levels behind it, and maybe a maximum."""
    tables = _training_tables([layer.node for layer in layers if isinstance(layer.node, Extension)])
    use_cuda = all(layer.node.use_cuda for layer in layers)
    if layers[0].placements.is_dense:
        wirings = [layer.wiring() for layer in layers]
        return kernels.multilinear_chain(x, wirings, tables, use_cuda=use_cuda)
    pool = layers[-1].placements.kernel if is_pooling(layers[-1]) else (1, 1)
    return kernels.multilinear_tree(x, layers[0].placed_wiring(), tables, pool, use_cuda=use_cuda)


def _training_tables(nodes: Sequence[Extension]) -> list[Tensor]:
    """The tables whose extension training computes; mixtures of gates are found for several banks at once."""
    mixtures = [mixture for node in nodes if (mixture := node.mixture()) is not None]
    if len(mixtures) == len(nodes):
        return kernels.gate_tables(mixtures, use_cuda=all(node.use_cuda for node in nodes))
    return [node.training_table() for node in nodes]


def _is_plain(layer: Layer) -> bool:
    """Whether the layer does nothing else with its inputs and outputs."""
    config = layer.layer_config
    if layer.training and (config.flip_probability or config.grad_stabilization != "none"):
        return False
    return has(layer, "forward", Layer.forward) and not is_watched(layer)
