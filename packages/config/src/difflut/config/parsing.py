"""Reading Gin files, and writing the configuration that results."""

import inspect
import os
import pprint
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from tokenize import TokenError
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import gin

from difflut.config.checking import resolved
from difflut.config.components import gin_names
from difflut.config.errors import ConfigurationError
from difflut.config.files import bundled_files
from difflut.config.statements import references, statements
from difflut.registry import JOBS, closest

# The errors that Gin raises for wrong text, such as a TokenError for a bracket that is left open.
WRONG = (ValueError, KeyError, TypeError, AttributeError, SyntaxError, TokenError, ImportError)
# The message of Gin for an unknown name, with or without its scope.
UNKNOWN = re.compile(r"No configurable matching (?:reference )?'@?(?:.*/)?(.*?)(?:\(\))?'\.")
# The message of Gin for a parameter that its component does not have.
NO_PARAMETER = re.compile(r"Configurable '(.*?)' doesn't have a parameter named '(.*?)'\.")
# The message of Gin for a file that is in no folder where it looks.
MISSING = re.compile(r"Unable to open file: (.*?)\. Searched config paths: \[.*?\]\.")
# What Gin appends to say where a statement stands that was given by itself.
PLACE = re.compile(r"\n  In bindings string line \d+\n.*", re.S)
# A binding whose value is one word, or several, and no literal.
BARE = re.compile(r"([\w./]+)\s*=\s*([^\W\d][^\"'#=@%{}\[\]]*?)\s*(?:#.*)?")

P = ParamSpec("P")
R = TypeVar("R")
# Gin writes dictionaries sorted; but the order of regularizers, or of the values of a sweep, matters.
gin.config.pprint = SimpleNamespace(pformat=partial(pprint.pformat, sort_dicts=False))


def parse(files: Sequence[str], parameters: Sequence[str] = (), text: str = "") -> None:
    """Replaces the present configuration by that of Gin files, Gin text and single parameters; the later override.

    Args:
        files: Paths; of two that bind the same, the later one counts.
        parameters: Bindings, such as `train.epochs = 3`.
        text: Text as in a Gin file.

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
        _hand_on_defaults()
        _check_read(parameters)
        gin.finalize()
    except (*WRONG, OSError) as error:
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
    except WRONG as error:
        said = PLACE.sub("", _with_hint(error))
        raise ConfigurationError(f"--gin_param {parameter!r}: {said}") from error


def _hand_on_defaults() -> None:
    """A component that a parameter has by default takes what is bound to it, as one that a file hands on."""
    bound, known = statements(gin.config_str()), gin_names()
    owners = {_split(name)[0] for name in bound}
    names = {id(component): name for name, component in known.items() if name in owners}
    for name, component in known.items():
        for parameter in inspect.signature(component).parameters.values():
            default, place = names.get(id(parameter.default)), f"{name}.{parameter.name}"
            if default is not None and place not in bound:
                gin.parse_config(f"{place} = @{default}")


def _check_read(parameters: Sequence[str]) -> None:
    """Refuses macros that were given one by one and that nothing refers to; those of files may be for other files."""
    bound = statements(gin.config_str())
    read = {reference.text for value in bound.values() for reference in references(value)}
    for parameter in parameters:
        for name in statements(parameter):
            if "." not in name and f"%{name}" not in read:
                meant = [known for known in bound if known.endswith(f".{name}")]
                hint = f"did you mean {' or '.join(meant)}?" if meant else f"write %{name} where it is meant"
                raise ConfigurationError(f"--gin_param {parameter!r}: nothing refers to the macro %{name}; {hint}")


def _with_hint(error: Exception) -> str:
    """The message of Gin with a hint: what is spelled like an unknown name or file, or what a bare word lacks."""
    text = str(error)
    if isinstance(error, SyntaxError) and (bare := BARE.fullmatch((error.text or "").strip())):
        place = f" ({error.filename}, line {error.lineno})" if error.filename else ""
        return f"{bare[2]} is no value{place}; did you mean {bare[1]} = {_meant(bare[2])}?"
    if isinstance(error, TokenError):
        return "a bracket, or text in quotes, is not closed"
    if missing := MISSING.search(text):
        name = missing[1].removesuffix(".gin")
        hint = closest(name, files) if (files := bundled_files()) else "give its path"
        return f"{text[: missing.start()]}there is no Gin file {missing[1]!r}; {hint}{text[missing.end() :]}"
    if (unknown := NO_PARAMETER.search(text)) and unknown[1] in gin_names():
        hint = closest(unknown[2], inspect.signature(gin_names()[unknown[1]]).parameters)
    elif unknown := UNKNOWN.search(text):
        hint = closest(unknown[1], gin_names())
    else:
        return text
    return f"{text[: unknown.end() - 1]}; {hint}{text[unknown.end() :]}"


def _meant(word: str) -> str:
    """A word as Gin takes it: Python's constant, a component's reference, or text."""
    constants = {"true": "True", "false": "False", "none": "None", "null": "None"}
    reference = any(f".{name}".endswith(f".{word.removesuffix('()').rpartition('/')[2]}") for name in gin_names())
    return constants.get(word.lower()) or (f"@{word}" if reference else f'"{word}"')


def plain(component: Callable[P, R]) -> Callable[P, R]:
    """A component that Gin handed on as `@name`, without the wrapper of Gin where nothing is bound to it.

    So it can be compared with others.
    """
    own = inspect.unwrap(component)
    names = {name for name, known in gin_names().items() if known is own}
    bound = {_split(name)[0] for name in statements(gin.config_str())}
    return own if names and not names & bound else component


def parsed_config() -> str:
    """The configuration as it was parsed, used or not, as Gin text that gives the same again."""
    return gin.config_str()


def operative_config() -> str:
    """The configuration as a Gin file that gives the same again: all that was used so far, with its defaults.

    Components that were handed on and are called later, such as a loss, are there with what is bound to them."""
    text, bound = gin.operative_config_str(), statements(gin.config_str())
    known = statements(text)
    while later := {name: value for name, value in bound.items() if name not in known and _is_meant(name, known)}:
        known |= later
        text += "".join(f"{name} = {value!r}\n" for name, value in later.items())
    return text


def _is_meant(name: str, known: dict[str, Any]) -> bool:
    """Whether a binding belongs to a component that known values refer to."""
    owner = _split(name)[0] or name
    return any(reference.name == owner for reference in references(known))


def overridden() -> list[str]:
    """Bindings without effect: the callers of their components always gave these parameters themselves."""
    used = {_split(name) for name in statements(gin.operative_config_str())}
    called = {component for component, _ in used}
    pairs = {name: _split(name) for name in statements(gin.config_str()) if "." in name}
    return [name for name, pair in pairs.items() if pair[0] in called and pair not in used]


def _split(name: str) -> tuple[str, str]:
    """A component, without scope, and its parameter."""
    component, _, parameter = name.rpartition("/")[2].rpartition(".")
    return component, parameter


def read_bindings(file: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Any]:
    """What a Gin file binds to parameters such as `train.epochs`, without those that it does not bind.

    The file becomes the present configuration.

    Raises:
        ConfigurationError: See `parse`.
    """
    parse([os.fspath(file)])
    return bound(names)


def bound(names: Sequence[str]) -> dict[str, Any]:
    """The values bound to parameters such as `train.epochs`, without those that are not bound; macros have theirs."""
    values = {}
    for name in names:
        with suppress(ValueError):
            values[name] = resolved(gin.query_parameter(name))
    return values
