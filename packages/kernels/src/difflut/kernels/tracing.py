"""Keeping `torch.compile` out of what it cannot trace."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def untraced(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A decorator: `torch.compile` calls the function as it is, and traces what is around it.

    Operations hand the addresses of tensors to compiled kernels, which no tracer can follow. And whether layers run as
    one operation is decided by looking at their tensors.
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.compiler.is_compiling():
            return _left_alone(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return run


@cache
def _left_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    # Here and not where functions are defined, since it imports the compiler, which takes seconds.
    return torch.compiler.disable(function)
