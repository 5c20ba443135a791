"""The arguments of a node, checked as a dataclass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from difflut.registry import checked


@checked
@dataclass
class NodeConfig:
    """What a layer needs to know to make its nodes.

    Attributes:
        input_dim: Inputs of each node, n.
        output_dim: Outputs of each node, m.
        init_fn: An initializer, or None for the node type's own.
        init_kwargs: Arguments of the initializer.
        regularizers: Regularizers, as `Node` takes them.
        extra_params: Arguments that only some node types have, such as `degree` or `gradient_scale`.
        nearest: Whether nodes of a type that cannot have `input_dim` inputs get the nearest number that they can have.
    """

    input_dim: int = 6
    output_dim: int = 1
    init_fn: Callable[..., Any] | None = None
    init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    regularizers: Mapping[str, Any] | Sequence[Any] | str = field(default_factory=dict)
    extra_params: Mapping[str, Any] = field(default_factory=dict)
    nearest: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Keyword arguments for a node type: `NodeClass(**config.to_dict())`."""
        common = {name: value for name, value in vars(self).items() if name not in ("extra_params", "nearest")}
        return common | dict(self.extra_params)
