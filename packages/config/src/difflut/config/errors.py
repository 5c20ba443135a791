"""Errors of a configuration, and errors of what it runs without what Gin would append to each."""

import re
from ast import literal_eval
from typing import Any

import gin

# What Gin appends to an error that passes a component which it called, and what it says there of missing arguments.
CALL = re.compile(r"\n  In call to configurable '(.*?)' (?s:.*?)(?: in scope '(.*)')?$")
LACK = re.compile(r"by Gin or caller for arguments: (\[.*\])")


class ConfigurationError(ValueError):
    """A Gin file or parameter names something that does not exist, or gives a value that is not allowed."""


def _reraise(error: Exception, appended: str) -> Any:
    """In the place of Gin's own function: only where a statement stands is appended, as the traceback has the calls."""
    call = CALL.search(appended)
    if call is None:
        return _augment(error, appended)
    if lack := LACK.search(appended):
        component, scope = call.groups()
        owner = f"{scope}/{component}" if scope else component
        missing = " and ".join(f"{owner}.{name}" for name in literal_eval(lack[1]))
        raise ConfigurationError(f"{missing} must be set, in a Gin file or by --gin_param") from error
    raise error


_augment = gin.utils.augment_exception_message_and_reraise
gin.utils.augment_exception_message_and_reraise = _reraise
