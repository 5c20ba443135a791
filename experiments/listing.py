"""What `run.py --list` shows."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from difflut.config import JOBS
from difflut.config.components import FUNCTIONS
from difflut.models import network
from difflut.registry import KINDS
from experiments.data import dataset_names


def listing() -> str:
    """All names that a Gin file may use, with their parameters and defaults."""
    sections = [
        _section("jobs", ((name, function) for name, function in JOBS.items())),
        _section("network", [("network", network)]),
    ]
    for registry in KINDS:
        kind = f"{registry.kind}s"
        sections.append(_section(kind, ((f"{kind}.{name}", component) for name, component in registry.items())))
    for kind, functions in FUNCTIONS.items():
        sections.append(_section(kind, [(f"{kind}.{function.__name__}", function) for function in functions]))
    sections.append("data sets\n  " + ", ".join(dataset_names()) + ", openml:NAME or openml:ID")
    return "\n\n".join(sections)


def _section(title: str, members: Iterable[tuple[str, Callable[..., Any]]]) -> str:
    lines = [title]
    for name, component in members:
        summary = (inspect.getdoc(component) or "").split("\n")[0]
        lines.append(f"  {name}({_parameters(component)})\n      {summary}")
    return "\n".join(lines)


def _parameters(component: Callable[..., Any]) -> str:
    shown = []
    for parameter in inspect.signature(component).parameters.values():
        default = parameter.default
        if default is parameter.empty:
            shown.append(parameter.name)
        else:
            shown.append(f"{parameter.name}={getattr(default, '__name__', None) or repr(default)}")
    return ", ".join(shown)
