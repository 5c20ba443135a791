"""What `run.py --list` shows."""

import inspect
import re
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

from difflut.config import ConfigurationError, bundled_files, gin_names
from difflut.registry import DATASETS, JOBS, Configured, closest
from experiments.data import dataset_names


def listing() -> str:
    """All names that a Gin file may use, with parameters and defaults, and the Gin files that come with DiffLUT."""
    members: dict[str, list[str]] = {}
    for name, component in gin_names().items():
        summary = _documentation(component).partition("\n")[0]
        members.setdefault(_kind(name), []).append(f"  {_call(name, component)}\n      {summary}")
    sections = ["\n".join([title, *lines]) for title, lines in members.items()]
    sections.append("data sets\n  " + ", ".join(dataset_names()) + ", openml:NAME or openml:ID")
    files = [f"  {name}\n      {_header(path)}" for name, path in bundled_files().items()]
    sections.append("\n".join(["Gin files that come with DiffLUT", *files]))
    return "\n\n".join(sections)


def description(name: str) -> str:
    """Parameters and documentation of a component, by its name with or without the kind (`nodes.dwn`, `dwn`, `digits`).

    Raises:
        ConfigurationError: No component has that name.
    """
    components = {**gin_names(), **{f"datasets.{name}": source for name, source in DATASETS.items()}}
    full_names = [full_name for full_name in components if name in (full_name, full_name.partition(".")[2])]
    if not full_names:
        raise ConfigurationError(f"--list: nothing is called {name!r}; {closest(name, components)}")
    return "\n\n".join(
        "\n\n".join((_call(full_name, component), _documentation(component), *_inherited(component)))
        for full_name, component in ((full_name, components[full_name]) for full_name in full_names)
    )


def _header(path: Path) -> str:
    """The first sentence of the comment with which a Gin file begins."""
    lines = takewhile(lambda line: line.startswith("# "), path.read_text(encoding="utf-8").splitlines())
    return re.split(r"(?<=[.?]) (?=[A-Z])", " ".join(line[2:] for line in lines))[0]


def _kind(name: str) -> str:
    if name in JOBS:
        return "jobs"
    return name.partition(".")[0] if "." in name else "called by name"


def _call(name: str, component: Callable[..., Any]) -> str:
    return f"{name}({_parameters(component)})"


def _documentation(component: Callable[..., Any]) -> str:
    return inspect.getdoc(component) or "(no description)"


def _inherited(component: Callable[..., Any]) -> list[str]:
    """The documentation of the bases to which a class hands options on."""
    bases = [base for base in getattr(component, "__mro__", ())[1:] if issubclass(base, Configured)]
    return [f"{base.__name__}: {_documentation(base)}" for base in bases if "__init__" in vars(base)]


def _parameters(component: Callable[..., Any]) -> str:
    shown = []
    for parameter in inspect.signature(component).parameters.values():
        default = parameter.default
        if default is parameter.empty:
            shown.append(parameter.name)
        else:
            shown.append(f"{parameter.name}={getattr(default, '__name__', None) or repr(default)}")
    return ", ".join(shown)
