import re
import shlex
from itertools import pairwise
from pathlib import Path
from runpy import run_path

import pytest

import experiments  # noqa: F401  registers the jobs
from difflut import config
from difflut.command import bundled

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page, language):
    return [code for name, code in FENCE.findall(page.read_text()) if name == language]


def with_blocks(language):
    found = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", found, ids=lambda page: str(page.relative_to(ROOT)))


@with_blocks("python")
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), names)


def commands():
    lines = [line for page in PAGES for code in blocks(page, "bash") for line in code.replace("\\\n", "").splitlines()]
    return sorted({line for line in lines if re.match(r"difflut |python run\.py ", line)})


@pytest.mark.parametrize("command", commands())
def test_a_command_names_a_file_and_what_it_binds(command):
    words = shlex.split(command)
    values = {name: [after for word, after in pairwise(words) if word == name] for name in words}
    config.parse([bundled(file) for file in values["--gin_file"]], values.get("--gin_param", []))


def test_the_reference_has_every_name_with_its_parameters():
    reference = run_path(str(ROOT / "docs" / "hooks" / "reference.py"))["reference"]()
    assert set(re.findall(r"^### (\S+)$", reference, re.MULTILINE)) == set(config.gin_names())
    assert "nodes.dwn.input_dim = 6\n" in reference and "**Args**\n\n- `base`: How many times wider" in reference


def test_every_page_is_in_the_navigation_and_has_a_title():
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in PAGES}
    assert all(page.read_text().startswith("# ") for page in PAGES)
