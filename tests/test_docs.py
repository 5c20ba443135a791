import inspect
import json
import re
import shlex
import subprocess
import tomllib
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from runpy import run_path

import gin
import pytest
import torch

import experiments
from difflut import config
from difflut.command import gin_folder
from difflut.registry import KINDS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
NOTEBOOK_HOOK = run_path(str(ROOT / "docs" / "hooks" / "notebooks.py"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


# How the lines of shell begin that a test runs, those of which it checks what they name, and those that are left to the
# reader: they install, or need a second machine.
RUN = ("cc ", "iverilog ", "vvp ", "./")
CHECKED = ("difflut ", "python run.py ", "DIFFLUT_DATA=folder difflut ")
LEFT = ("pip install ", "ray ", "export RAY_", "RAY_ADDRESS=", "mkdocs ", "wandb ", "torchrun ")
IMPORT = re.compile(r"^ *from (difflut[\w.]*) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)
FILES = {"c": "cc", "verilog": "iverilog", "toml": None}  # languages whose blocks are files, and what reads them


def blocks(page):
    return FENCE.findall(page.read_text())


def shell(code):
    return [line for line in code.replace("\\\n", "").splitlines() if line and not line.startswith("#")]


def pages():
    for page in PAGES:
        languages = {language for language, _ in blocks(page)}
        if languages & {"python", *FILES}:
            tools = [tool for language in languages if (tool := FILES.get(language))]
            yield pytest.param(page, marks=pytest.mark.needs(*tools), id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", list(pages()))
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for registry in KINDS:  # no other test finds what a page registers
        monkeypatch.setattr(registry, "_components", dict(registry._components))
    names = {"__name__": "page"}
    for language, code in blocks(page):
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
        elif language in FILES:
            # The comment in its first line begins with the file's name.
            Path(re.match(r"\W*([\w.]+)", code)[1]).write_text(code)
            assert language != "toml" or tomllib.loads(code)
        elif language == "bash":
            for line in filter(lambda line: line.startswith(RUN), shell(code)):
                done = subprocess.run(line, shell=True, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_of_a_kind_that_is_tested(page):
    for language, code in blocks(page):
        assert language in ("python", "bash", "gin", "text", *FILES)  # text needs files that a test has not
        if language == "bash":
            assert all(line.startswith((*RUN, *CHECKED, *LEFT)) for line in shell(code)), code
    assert len(blocks(page)) == len(re.findall(r"^```", page.read_text(), re.MULTILINE)) / 2


def commands():
    lines = [line for page in PAGES for language, code in blocks(page) if language == "bash" for line in shell(code)]
    return sorted({line.removeprefix("DIFFLUT_DATA=folder ") for line in lines if line.startswith(CHECKED)})


@pytest.mark.parametrize("command", commands())
def test_a_command_names_a_file_and_what_it_binds(command):
    words = shlex.split(command)
    values = {name: [after for word, after in pairwise([*words, ""]) if word == name] for name in words}
    if "--list" in words:
        assert not values["--list"][0] or experiments.description(values["--list"][0])
        return
    config.look_in(gin_folder())
    config.parse(values["--gin_file"], values.get("--gin_param", []))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_gin_of_a_page_is_read(page, tmp_path):
    for language, code in blocks(page):
        if language == "gin":
            (tmp_path / "page.gin").write_text(code)
            config.parse([str(tmp_path / "page.gin")], [])


def test_the_explained_convolution_is_a_network(tmp_path):
    (explained,) = (code for language, code in blocks(ROOT / "docs/tasks/convolution.md") if language == "gin")
    (tmp_path / "page.gin").write_text(explained)
    config.parse([str(tmp_path / "page.gin")], [])
    model = gin.get_configurable("network")((8, 8), 10)
    assert [layer.output_shape for layer in model.layers] == [(64, 8, 8), (32, 8, 8), (32, 4, 4), (1000,)]
    model.encoder.fit(x := torch.rand(5, 8, 8))
    assert model(x).shape == (5, 10)


def test_the_reference_has_every_name_with_its_parameters():
    reference = run_path(str(ROOT / "docs" / "hooks" / "reference.py"))["reference"]()
    assert set(re.findall(r"^### (\S+)$", reference, re.MULTILINE)) == set(config.gin_names())
    assert "nodes.dwn.input_dim = 6\n" in reference and "**Args**\n\n- `base`: Spacing at the maximum" in reference


def imported():
    """What pages and notebooks import from DiffLUT, without modules and the registry, which is told in words."""
    for text in [*map(Path.read_text, PAGES), *map(NOTEBOOK_HOOK["markdown"], NOTEBOOKS)]:
        for _, code in FENCE.findall(text):
            for module, several, one in IMPORT.findall(code):
                for name in re.findall(r"\w+", several or one):
                    thing = getattr(import_module(module), name, None)
                    if module != "difflut.registry" and not inspect.ismodule(thing):
                        yield f"{module}.{name}", thing


def test_the_reference_has_what_pages_import():
    listed = re.findall(r"^::: (\S+)\.(\w+)$", (ROOT / "docs/reference/python.md").read_text(), re.MULTILINE)
    known = [getattr(import_module(module), name) for module, name in listed]
    found = dict(imported())
    assert len(found) > 20 and [name for name, thing in found.items() if thing not in known] == []


def test_every_page_is_in_the_navigation_and_has_a_title():
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(ROOT / "docs").with_suffix(".md")) for page in [*PAGES, *NOTEBOOKS]}
    assert all(
        text.startswith("# ") for text in [*map(Path.read_text, PAGES), *map(NOTEBOOK_HOOK["markdown"], NOTEBOOKS)]
    )


def test_the_files_to_start_from_say_the_same_accuracies():
    rows = re.findall(r"^\| `([\w/]+)` \|.*\| (.*) \|$", (ROOT / "docs/tasks/train.md").read_text(), re.MULTILINE)
    for name, accuracies in rows:
        if (file := gin_folder() / f"{name}.gin").is_file():
            header = file.read_text().split("\n\n")[0]
            assert all(figure in header for figure in re.findall(r"\d\d\.\d+", accuracies)), name
    assert len(rows) > 5


def test_every_page_is_linked_by_another():
    linked = {ROOT / "docs/index.md"}
    for source in [*PAGES, *NOTEBOOKS, ROOT / "README.md"]:
        targets = re.findall(r"\]\(([^)#\s]+)", source.read_text())
        linked |= {(source.parent / target).resolve() for target in targets} - {source}
    assert [page for page in [*PAGES, *NOTEBOOKS] if page not in linked] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_table_has_a_head_and_rows_of_as_many_cells(page):
    text = re.sub(r"`[^`\n]*`", "", page.read_text())
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = table.splitlines()
        assert re.fullmatch(r"\|[-:| ]+\|", rows[1]), rows[0]
        assert {row.count("|") for row in rows} == {rows[1].count("|")}, rows[0]


def test_links_to_notebooks_lead_to_their_pages_but_one_that_downloads():
    text = "[one](notebooks/a.ipynb) and [two](b.ipynb), [file](a.ipynb){ download }"
    shown = NOTEBOOK_HOOK["on_page_markdown"](text)
    assert shown == "[one](notebooks/a.md) and [two](b.md), [file](a.ipynb){ download }"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_the_page_of_a_notebook_has_all_its_cells(notebook):
    page, cells = NOTEBOOK_HOOK["markdown"](notebook), json.loads(notebook.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert FENCE.findall(page) == [("python", f"{source}\n") for source in code]
    assert all("".join(cell["source"]) in page for cell in cells)
