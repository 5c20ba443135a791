"""Regularizers as a node holds them: a function with its weight and arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from torch import Tensor, nn

from difflut.registry import REGULARIZERS, check_call, checked


@checked
@dataclass(frozen=True)
class Penalty:
    """`weight * function(node, **arguments)`, a term of the loss.

    Raises:
        ArgumentError: The weight is not finite, or the function has no such arguments.
    """

    function: Callable[..., Tensor]
    weight: float = 1.0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_call(self.function, 1, self.arguments)

    def __call__(self, node: nn.Module) -> Tensor:
        return self.weight * self.function(node, **self.arguments)


def as_penalties(regularizers: Any) -> dict[str, Penalty]:
    """Reads regularizers, each a registered name or a function, in a list or by label.

    By label there may be a weight beside: `{"l2": 0.1}`, `{label: (function, weight)}` or `(function, weight,
    arguments)`.

    Raises:
        TypeError: An entry is none of these.
        UnknownComponentError: No regularizer has that name.
    """
    if isinstance(regularizers, str) or callable(regularizers):
        regularizers = [regularizers]
    if not isinstance(regularizers, Mapping):
        regularizers = {_label(entry): entry for entry in regularizers}
    return {label: _penalty(label, entry) for label, entry in regularizers.items()}


def _label(entry: Any) -> str:
    function = entry[0] if isinstance(entry, (tuple, list)) and entry else entry
    return str(getattr(function, "__name__", function))


def _penalty(label: str, entry: Any) -> Penalty:
    if isinstance(entry, Penalty):
        return entry
    if isinstance(entry, Real):
        entry = (label, entry)
    function, *others = entry if isinstance(entry, (tuple, list)) and entry else (entry,)
    if isinstance(function, str):
        function = REGULARIZERS[function]
    if not callable(function) or len(others) > 2:
        raise TypeError(
            f"regularizer {label!r} must be a function or the name of one, alone, with a weight, or with a weight and "
            f"arguments, got {entry!r}"
        )
    return Penalty(function, *others)
