"""Names of parameters and files in messages, documents and comments of Gin files are those of what there is."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import experiments  # noqa: F401
from difflut.config import gin_names

ROOT = Path(__file__).parents[1]
FILES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("gin_configs/**/*.gin"),
    *ROOT.glob("experiments/**/*.py"),
    *ROOT.glob("packages/*/src/**/*.py"),
]
SUFFIXES = {"py", "gin", "json", "jsonl", "pt", "npz", "html", "md", "csv"}
NAMES = gin_names()
NAMED = re.compile(
    rf"(?<![\w./@-])({'|'.join(map(re.escape, sorted(NAMES, key=len, reverse=True)))})\.([a-z_]+)\b(?![(.])"
)
PATH = re.compile(
    r"(?<![\w/.…-])(?:docs|experiments|gin_configs|kernels|packages|tests)/[\w/.-]+\.(?:md|gin|py|png|ipynb|cu|cuh|cpp|h)\b"
)


def texts(path: Path) -> list[str]:
    """A file's text; of Python its strings alone, where a name is not code."""
    if path.suffix != ".py":
        return [path.read_text()]
    constants = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str)]


def unknown(text: str) -> list[str]:
    found = ((match[0], match[1], match[2]) for match in NAMED.finditer(text))
    return [
        name
        for name, owner, parameter in found
        if parameter not in SUFFIXES and parameter not in inspect.signature(NAMES[owner]).parameters
    ]


def test_what_is_no_parameter_is_found():
    text = "set train.epoch, a/nodes.dwn.input_dims or train.epochs; see train.py and ablate.resume"
    assert unknown(text) == ["train.epoch"] and unknown("nodes.dwn.input_dims") == ["nodes.dwn.input_dims"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_parameter_that_is_named_is_there(path):
    assert [name for text in texts(path) for name in unknown(text)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_is_named_is_there(path):
    named = {name for text in texts(path) for name in PATH.findall(text)}
    # A page of the site names what lies beside it, and an export says what it writes.
    assert [name for name in named if not any((folder / name).is_file() for folder in (ROOT, path.parent))] == []
