"""Keeping torch's tracing out of what it cannot follow."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def untraced(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A decorator: `torch.compile` calls the function as it is, and traces what is around it.

    Operations hand the addresses of tensors to compiled kernels, which no tracer can follow. And whether layers run as
    one operation is decided by looking at their tensors.

    Raises:
        RuntimeError: `torch.export` calls the function; a part that it leaves out would be missing in its program.
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.compiler.is_exporting():
            raise RuntimeError(
                "torch.export and torch.onnx.export cannot follow compiled kernels; take difflut.circuits: "
                "write_onnx(Circuit.from_model(network), path), or write_c"
            )
        if torch.compiler.is_compiling():
            # Here and not where functions are defined, since it imports the compiler, which takes seconds.
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return run
