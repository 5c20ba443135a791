"""The C++ and CUDA sources keep the style of the Python ones."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "kernels").iterdir())
LINE_LENGTH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]


def includes(source: Path) -> set[str]:
    return set(re.findall(r'^#include "(.+)"$', source.read_text(), re.MULTILINE))


def named_in_python() -> set[str]:
    """Every string of the packages that is the name of a source, as those that are handed to the compiler."""
    trees = [ast.parse(file.read_text()) for file in (ROOT / "packages").rglob("src/**/*.py")]
    constants = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return constants & {source.name for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_source_says_what_it_does_in_lines_of_the_common_length(source):
    header = re.match(r"(?:// ?.*\n)+", text := source.read_text())
    assert header and re.match(r"// [A-Z]", header[0]) and header[0].endswith(".\n"), "begins with what it does"
    behind = text[header.end() :]
    assert behind.startswith("#pragma once\n" if source.suffix in (".h", ".cuh") else "#include ")
    assert [number for number, line in enumerate(text.split("\n"), 1) if len(line) > LINE_LENGTH] == []


def test_every_source_is_compiled_or_included():
    used, found = set(), named_in_python()
    while found:
        used |= found
        found = {name for source in found for name in includes(ROOT / "kernels" / source)} - used
    assert used == {source.name for source in SOURCES}
