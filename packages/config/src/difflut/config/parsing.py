"""Reading Gin files, and writing what they amount to."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gin

from difflut.config.checking import resolved
from difflut.config.components import gin_names
from difflut.config.errors import ConfigurationError
from difflut.registry import JOBS, closest

# What Gin says of a name, with or without its scope, that nothing has.
UNKNOWN = re.compile(r"No configurable matching (?:reference )?'@?(?:.*/)?(.*?)(?:\(\))?'\.")


def parse(files: Sequence[str], parameters: Sequence[str] = (), text: str = "") -> None:
    """Replaces the present configuration by that of Gin files, Gin text and, each stronger, single parameters.

    Args:
        files: Paths; of two that bind the same, the later one counts.
        parameters: Bindings, such as `train.epochs = 3`.
        text: What a Gin file may hold.

    Raises:
        ConfigurationError: With the file and line of the wrong statement, or the parameter.
    """
    gin.clear_config()
    try:
        for file in files:
            gin.parse_config_file(file)
        gin.parse_config(text)
        for parameter in parameters:
            _parse_parameter(parameter)
        gin.finalize()
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError, OSError) as error:
        raise ConfigurationError(_with_hint(error)) from error
    known = ", ".join(sorted(JOBS))
    try:
        job = resolved(gin.query_parameter("run.job"))
    except ValueError as error:
        raise ConfigurationError(f"no job: add a line such as 'run.job = @train'; known: {known}") from error
    if job.configurable.wrapped not in JOBS.values():
        raise ConfigurationError(f"run.job = {job}: this is no job; known: {known}")
    if job.evaluate:
        raise ConfigurationError(f"run.job = {job} must be {str(job).removesuffix('()')}, without the parentheses")


def _parse_parameter(parameter: str) -> None:
    try:
        gin.parse_config(parameter)
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError) as error:
        raise ConfigurationError(f"--gin_param {parameter!r}: {_with_hint(error)}") from error


def _with_hint(error: Exception) -> str:
    """What Gin says and, of an unknown name, the known ones that are spelled like it."""
    text = str(error)
    if not (unknown := UNKNOWN.search(text)):
        return text
    return f"{text[: unknown.end() - 1]}; {closest(unknown[1], gin_names())}{text[unknown.end() :]}"


def parsed_config() -> str:
    """The configuration as it was parsed, used or not, as Gin text that gives the same again."""
    return gin.config_str()


def operative_config() -> str:
    """The configuration as used so far, defaults included, as a Gin file that gives the same again."""
    return gin.operative_config_str()


def read_bindings(file: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Any]:
    """What a Gin file binds to parameters such as `train.epochs`, without those that it does not bind.

    The file becomes the present configuration.

    Raises:
        ConfigurationError: See `parse`.
    """
    parse([os.fspath(file)])
    bound = {}
    for name in names:
        with suppress(ValueError):
            bound[name] = gin.query_parameter(name)
    return bound
