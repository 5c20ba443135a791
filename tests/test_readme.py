import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def test_the_ten_lines_run():
    (code,) = blocks("python")
    names = {}
    exec(code, names)
    assert set(names["classes"].unique().tolist()) <= {0, 1}
    assert all(parameter.grad is not None for parameter in names["model"].parameters())


def test_the_explained_gin_file_is_the_quickstart():
    def bindings(text):
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        return {line for line in lines if line}

    (explained,) = blocks("")
    assert bindings(explained) <= bindings((ROOT / "gin_configs" / "quickstart.gin").read_text())


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_accuracies_of_its_tables_are_those_of_the_reproductions(page):
    """Accuracies, with published ones in brackets."""
    rows = re.findall(r"^\| (.*run\.py.*) \|$", (ROOT / "docs" / "papers.md").read_text(), re.MULTILINE)
    cells = [row.split(" | ") for row in rows]
    published, measured = {cell[3] for cell in cells}, {cell[5].split()[0] for cell in cells}
    table = "\n".join(line for line in (ROOT / page).read_text().splitlines() if line.startswith("|"))
    ours, theirs = (set(re.findall(form, table)) for form in (r"(?<![(\d.])\d\d\.\d\d(?!\d)", r"\((\d\d\.\d\d)\)"))
    assert len(ours) > 5 and ours <= measured and theirs <= published


def test_its_figures_are_those_of_the_documentation():
    figure = r"(?<![\d.,])(?:\d+\.\d+|\d{1,3}(?:,\d{3})+)(?![\d,]*\d)"
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    figures = set(re.findall(figure, prose))
    assert len(figures) > 20 and figures - set(re.findall(figure, pages)) == set()


@pytest.mark.parametrize("path", re.findall(r"(gin_configs/\S+\.gin|docs/\S+?\.(?:png|md)|\w+\.md)\b", README))
def test_the_files_that_it_names_exist(path):
    assert (ROOT / path).is_file()


def test_the_hooks_before_a_commit_are_the_checks_of_ci():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    checks = re.findall(r'^"\$venv/bin/(.*?)"(?! -m| install)(.*)$', (ROOT / ".ci" / "run").read_text(), re.M)
    assert [hook["entry"] for hook in hooks] == [program + arguments for program, arguments in checks]


def test_the_changelog_knows_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert version == released[0] or (version.endswith(".dev0") and version > released[0])


def test_ci_runs_its_second_command():
    second = blocks("bash")[1].strip().replace(".venv/bin/", '"$venv/bin/"')
    ci = (ROOT / ".ci" / "run").read_text()
    for part in ("torch==2.13.0 -e '.[test]'", "-m pytest"):
        assert part in second and part in ci
