"""Jobs: the functions that a Gin file can run."""

from collections.abc import Callable
from typing import Any

import gin

JOBS: dict[str, Callable[..., Any]] = {}


def job(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function available as `run.job = @name`, its arguments as `name.argument`."""
    JOBS[function.__name__] = function
    gin.register(function)
    return function


def configurable(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator for what jobs call by themselves: the call takes the arguments bound under `name`."""
    return gin.configurable(name)


@gin.configurable
def run(job: Callable[..., Any], **arguments: Any) -> Any:
    """Runs the job that the configuration names, `run.job = @train`; arguments are stronger than the configuration."""
    return job(**arguments)
