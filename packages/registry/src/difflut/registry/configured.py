"""Components that can say how they were made."""

import inspect
from collections.abc import Sequence
from typing import Any

from difflut.registry.arguments import checked_constructor


class Configured:
    """Keeps every constructor argument as an attribute of the same name, as scikit-learn's estimators do.

    So a component can be described by plain data and made again from it. A subclass may hand options on to its base
    with `**options`. They become part of its signature, where Gin, `--list` and `inspect` see them. Those that it
    decides itself are left out: `class Pool(Layer, decides=("output_size",))`. Arguments are checked (see `arguments`).
    """

    def __init_subclass__(cls, decides: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        constructor = vars(cls).get("__init__")
        if constructor is not None:
            shape = _spelled_out(constructor, super(cls, cls).__init__, decides)
            cls.__init__ = checked_constructor(constructor, shape)  # type: ignore[method-assign]

    def get_params(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in self.kept_params()}

    def kept_params(self) -> list[str]:
        """Names of the constructor's arguments, without those that stand for something the component has not."""
        return list(inspect.signature(type(self)).parameters)

    def check_state(self) -> None:
        """Raises a `ValueError` where loaded tensors are no valid state of the component."""


def _spelled_out(constructor: Any, base: Any, decided: Sequence[str]) -> inspect.Signature:
    own = inspect.signature(constructor)
    parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if len(parameters) < len(own.parameters):
        inherited = inspect.signature(base).parameters.values()
        known = {p.name for p in parameters} | set(decided)
        parameters += [p.replace(kind=p.KEYWORD_ONLY) for p in inherited if p.name not in known]
    return own.replace(parameters=parameters)
