"""What classes of nodes and layers promise, and whether a module keeps it: a subclass or a user may have changed it."""

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from difflut import kernels
from difflut.nodes.hard_lookup import HardLookup
from difflut.nodes.node import Node

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def trains_by_lookup(node: Node) -> bool:
    """Whether training the node is `kernels.lookup` with its `tables`, and nothing else."""
    promised = isinstance(node, HardLookup) and has(node, "relaxed", HardLookup.relaxed)
    return promised and has(node, "forward", Node.forward) and not is_watched(node)


def relaxed_of_choices(node: Node) -> Callable[[kernels.Choice, kernels.Wiring], Tensor] | None:
    """The node's `relaxed`, where training it is that and nothing else, and it `takes_choices`."""
    promised = getattr(node.relaxed, "takes_choices", False)
    kept = promised and has(node, "forward", Node.forward) and not is_watched(node)
    return cast(Any, node.relaxed) if kept else None


def has(module: nn.Module, name: str, promised: Callable[..., Any]) -> bool:
    """Whether the method is the promised one; a subclass or this instance may have replaced it."""
    return getattr(getattr(module, name), "__func__", None) is promised


def is_watched(module: nn.Module) -> bool:
    """Whether the module has hooks, which must see each call."""
    return _has_any_global_hook() or any(getattr(module, kind) for kind in HOOKS)
