"""Gives every component its Gin name, now and when it is registered; nothing in the library itself knows of Gin.

`nodes.dwn`, `layers.random`, `losses.distillation`: the kind, then the registered name. A job has its name alone. A
data set has none, as it is not handed on by reference: `dataset.name = "digits"`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import gin

from difflut.layers import GroupSum, LayerConfig
from difflut.models import network
from difflut.nodes import NodeConfig
from difflut.registry import DATASETS, JOBS, KINDS

R = TypeVar("R")
# What has a name and is in no registry.
NAMES: dict[str, Callable[..., Any]] = {
    "network": network,
    "nodes.NodeConfig": NodeConfig,
    "layers.LayerConfig": LayerConfig,
    "layers.GroupSum": GroupSum,
}


def gin_names() -> dict[str, Callable[..., Any]]:
    """All that a Gin file can name, by its name: jobs first."""
    kinds = [kind for kind in KINDS if kind is not JOBS and kind is not DATASETS]
    components = {f"{kind.plural}.{name}": component for kind in kinds for name, component in kind.items()}
    return {**JOBS, **NAMES, **components}


def configurable(name: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A decorator for what jobs call by themselves: the call takes the arguments bound under `name`."""

    def enter(function: Callable[..., R]) -> Callable[..., R]:
        NAMES[name] = function
        return gin.configurable(name)(function)

    return enter


def _bind(module: str | None, name: str, component: Callable[..., Any]) -> None:
    # Registered again on purpose, and perhaps after a configuration was parsed: the registry has seen to clashes.
    with gin.config.interactive_mode(), gin.unlock_config():
        gin.register(name, module=module)(component)


for _name, _component in NAMES.items():
    gin.register(_name)(_component)
for _kind in KINDS:
    if _kind is not DATASETS:
        _kind.follow(partial(_bind, None if _kind is JOBS else _kind.plural))
