"""Regularizers as a node holds them: a function with its weight and arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Penalty:
    """`weight * function(node, **arguments)`, a term of the loss."""

    function: Callable[..., Tensor]
    weight: float = 1.0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, node: nn.Module) -> Tensor:
        return self.weight * self.function(node, **self.arguments)


def as_penalties(regularizers: Mapping[str, Any]) -> dict[str, Penalty]:
    """Reads `{name: function}`, `{name: (function, weight)}` or `{name: (function, weight, arguments)}`.

    Raises:
        TypeError: An entry is none of these.
    """
    return {name: _penalty(name, entry) for name, entry in regularizers.items()}


def _penalty(name: str, entry: Any) -> Penalty:
    if isinstance(entry, Penalty):
        return entry
    parts = entry if isinstance(entry, (tuple, list)) else (entry,)
    if not 1 <= len(parts) <= 3 or not callable(parts[0]):
        raise TypeError(
            f"regularizer {name!r} must be a function, (function, weight) or (function, weight, arguments), "
            f"got {entry!r}"
        )
    return Penalty(*parts)
