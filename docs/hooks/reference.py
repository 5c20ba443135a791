"""Writes the page of all Gin names from the code whenever the site is built."""

import inspect
import re
from typing import Any

from markdown.extensions.toc import slugify

import experiments  # noqa: F401  registers the jobs
from difflut.config import gin_names

MARK = "<!-- every Gin name -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its mark replaced by the reference."""
    return markdown.replace(MARK, reference()) if MARK in markdown else markdown


def reference() -> str:
    """Every name with its parameters and what its docstring says, by kind."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(gin_names()):
        kind = name.partition(".")[0] if "." in name else "jobs, and what is called by name"
        kinds.setdefault(kind, []).append(name)
    links = " · ".join(f"[{kind}](#{slugify(kind, '-')})" for kind in sorted(kinds))
    sections = (part for kind in sorted(kinds) for part in (f"## {kind}\n", *map(_entry, kinds[kind])))
    return "\n".join((links + "\n", *sections))


def _entry(name: str) -> str:
    component = gin_names()[name]
    parameters = "\n".join(f"{name}.{line}" for line in _bindings(component))
    text = re.sub(
        r"\n(Args|Returns|Raises|Attributes):\n(.*?)(?=\n\n|\Z)", _definitions, _docstring(component), flags=re.S
    )
    code = f"```text\n{parameters}\n```\n" if parameters else ""
    return f"### {name}\n\n{code}\n{text}\n"


def _docstring(component: Any) -> str:
    return inspect.getdoc(component) or ""


def _bindings(component: Any) -> list[str]:
    shown = []
    for parameter in inspect.signature(component).parameters.values():
        default = parameter.default
        value = "…" if default is parameter.empty else getattr(default, "__name__", None) or repr(default)
        shown.append(f"{parameter.name} = {value}")
    return shown


def _definitions(section: re.Match[str]) -> str:
    """A section of a Google docstring as a list."""
    lines = inspect.cleandoc("\n" + section[2]).splitlines()
    joined = re.sub(r"\n\s+", " ", "\n".join(lines)).splitlines()
    entries = (re.sub(r"^([\w*, ]+):", r"`\1`:", line) for line in joined)
    return f"\n**{section[1]}**\n\n" + "\n".join(f"- {entry}" for entry in entries)
