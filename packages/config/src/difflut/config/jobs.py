"""Running the job that a Gin file names."""

import re
from ast import literal_eval
from collections.abc import Callable
from typing import Any

from difflut.config.components import configurable
from difflut.config.errors import ConfigurationError

# The text that Gin adds to the error of a call that lacks arguments.
LACK = re.compile(
    r"by Gin or caller for arguments: (\[.*\])(?s:.*?)In call to configurable '(.*?)' .*?(?: in scope '(.*)')?$", re.M
)


@configurable("run")
def run(job: Callable[..., Any], **arguments: Any) -> Any:
    """Runs the job that the configuration names, `run.job = @train`; arguments override the configuration.

    Raises:
        ConfigurationError: The job, or a component that it makes, needs more than it is given.
    """
    try:
        return job(**arguments)
    except TypeError as error:
        if not (lack := LACK.search(str(error))):
            raise
        names, component, scope = lack.groups()
        owner = f"{scope}/{component}" if scope else component
        missing = " and ".join(f"{owner}.{name}" for name in literal_eval(names))
        raise ConfigurationError(f"{missing} must be set, in a Gin file or by --gin_param") from error
