"""Running the job that a Gin file names."""

from collections.abc import Callable
from typing import Any

from difflut.config.components import configurable


@configurable("run")
def run(job: Callable[..., Any], **arguments: Any) -> Any:
    """Runs the job that the configuration names, `run.job = @train`; arguments override the configuration.

    Raises:
        ConfigurationError: The job, or a component that it makes, needs more than it is given.
    """
    return job(**arguments)
