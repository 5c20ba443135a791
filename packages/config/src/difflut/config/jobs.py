"""Jobs: the functions that a Gin file can run."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import gin

from difflut.config.errors import ConfigurationError

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
    """Runs the job that the configuration names, `run.job = @train`; arguments are stronger than the configuration.

    Raises:
        ConfigurationError: The job needs more than it is given.
    """
    reference = gin.query_parameter("run.job")
    with gin.config_scope(reference.scopes or None):
        given = {*arguments, *gin.get_bindings(reference.selector, resolve_references=False)}
    needed = [name for name, parameter in signature(job).parameters.items() if parameter.default is parameter.empty]
    if missing := [f"{job.__name__}.{name}" for name in needed if name not in given]:
        raise ConfigurationError(f"{' and '.join(missing)} must be set, in a Gin file or by --gin_param")
    return job(**arguments)
