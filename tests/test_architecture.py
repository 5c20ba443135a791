import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [
    "registry",
    "kernels",
    "encoders",
    "nodes",
    "layers",
    "models",
    "circuits",
    "training",
    "estimators",
    "pretrained",
    "config",
    "command",
]
# Parts of `difflut.circuits`, each of which imports only those before it; `circuit` is what all are about.
WINGS = ["circuit", "passes", "arithmetic", "writers", "streaming", "formats", "imports", "engine", "tools"]
# `difflut.utils` is a part of the layers package, `difflut.sklearn` of the estimators.
HOME = {"utils": "layers", "sklearn": "estimators"} | {name: name for name in ORDER}
# The rooms of `experiments`, and the earlier ones that each uses.
ROOMS = {
    "shared": set(),
    "data": set(),
    "runs": {"shared", "data"},
    "cluster": {"shared"},
    "training": {"shared", "data", "runs", "cluster"},
    "export": {"shared", "data", "runs"},
    "verification": {"shared", "data"},
    "inference": {"shared", "runs"},
    "report": {"shared", "runs"},
    "sweep": {"shared", "data", "runs", "cluster", "training", "report"},
    "reproduction": {"shared", "data", "runs", "training", "sweep"},
    "benchmark": {"shared", "data", "runs"},
}
TOP_LEVEL = {
    "README.md", "WORKSPACE.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE",
    "run.py", "pyproject.toml", "mkdocs.yml",
    "packages", "experiments", "kernels", "gin_configs", "tests", "docs",
}  # fmt: skip
DISTRIBUTIONS = {"gin": "gin-config", "yaml": "pyyaml", "sklearn": "scikit-learn"}
# Timed beside ours, or used, where someone has installed them.
OPTIONAL = {"torch_dwn", "torchlogix", "wandb_workspaces", "optuna", "onnx"}
ONLY_INSIDE_FUNCTIONS = {"ray", "wandb", "matplotlib", "sklearn", "tqdm"} | OPTIONAL


def sources(name: str) -> list[Path]:
    return sorted((ROOT / "packages" / name / "src" / "difflut").rglob("*.py"))


def imports(file: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(file.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def difflut_imports(name: str) -> set[str]:
    used = {part.split(".")[1] for file in sources(name) for part in imports(file) if part.startswith("difflut.")}
    return {HOME[part] for part in used} - {name}


def third_party(files: list[Path]) -> set[str]:
    roots = {part.split(".")[0] for file in files for part in imports(file)}
    return {DISTRIBUTIONS.get(root, root) for root in roots - sys.stdlib_module_names - {"difflut", "experiments"}}


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def distributions(requirements: list[str]) -> set[str]:
    return {requirement.split(">=")[0].split("[")[0] for requirement in requirements}


def test_the_packages_are_those_of_the_order():
    assert {path.name for path in (ROOT / "packages").iterdir()} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_package_imports_only_those_before_it(name):
    later = set(ORDER[ORDER.index(name) :])
    assert not difflut_imports(name) & later


@pytest.mark.parametrize("wing", WINGS[1:])
def test_a_wing_of_circuits_imports_only_those_before_it(wing):
    files = [file for file in sources("circuits") if file.parent.name == wing]
    used = {part.split(".")[2] for file in files for part in imports(file) if part.startswith("difflut.circuits.")}
    assert files and not used - set(WINGS[: WINGS.index(wing) + 1])


def test_every_module_of_circuits_is_in_a_wing():
    home = ROOT / "packages" / "circuits" / "src" / "difflut" / "circuits"
    assert {file.relative_to(home).parts[0].removesuffix(".py") for file in home.rglob("*.py")} == {"__init__", *WINGS}


@pytest.mark.parametrize("name", ORDER)
def test_a_package_declares_what_it_imports(name):
    declared = distributions(project(ROOT / "packages" / name)["project"]["dependencies"])
    used = {f"difflut-{other}" for other in difflut_imports(name)} | third_party(sources(name))
    # ninja is what torch's just-in-time compilation runs.
    assert declared - {"ninja"} == used - OPTIONAL


def test_the_root_declares_what_packages_and_experiments_use():
    declared = distributions(project(ROOT)["project"]["dependencies"])
    files = [file for name in ORDER for file in sources(name)] + sorted((ROOT / "experiments").rglob("*.py"))
    assert declared - {"ninja"} == third_party(files) - OPTIONAL


def test_the_root_lists_every_package():
    root = project(ROOT)
    assert root["tool"]["hatch"]["build"]["dev-mode-dirs"] == [*(f"packages/{name}/src" for name in ORDER), "."]
    assert root["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        *(f"packages/{name}/src/difflut" for name in ORDER),
        "experiments",
    ]
    assert set(root["tool"]["uv"]["sources"]) == {f"difflut-{name}" for name in ORDER}
    assert root["tool"]["mypy"]["mypy_path"] == [f"packages/{name}/src" for name in ORDER]


def test_the_root_announces_the_components_of_every_package():
    group = "difflut.components"
    members = {}
    for name in ORDER:
        members |= project(ROOT / "packages" / name)["project"].get("entry-points", {}).get(group, {})
    assert project(ROOT)["project"]["entry-points"][group] == members


def test_only_config_imports_gin():
    files = [file for name in ORDER if name != "config" for file in sources(name)]
    files += sorted((ROOT / "experiments").rglob("*.py"))
    assert not [file for file in files if any(part.split(".")[0] == "gin" for part in imports(file))]


def test_heavy_libraries_are_imported_only_where_they_are_used():
    # An estimator has scikit-learn's classes as its bases.
    files = [file for name in ORDER if name != "estimators" for file in sources(name)]
    for file in files + sorted((ROOT / "experiments").rglob("*.py")):
        roots = {part.split(".")[0] for part in imports(file, top_level_only=True)}
        assert not roots & ONLY_INSIDE_FUNCTIONS, file


def everything() -> list[Path]:
    return [file for name in ORDER for file in sources(name)] + sorted((ROOT / "experiments").rglob("*.py"))


def test_what_a_platform_may_lack_is_imported_where_it_is_used():
    for file in everything():
        assert not imports(file, top_level_only=True) & {"fcntl", "resource", "termios", "pwd", "grp"}, file


def test_text_files_are_utf8_whatever_the_locale():
    for file in everything():
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", None))
            owner = getattr(getattr(call.func, "value", None), "id", "")
            given = [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]
            is_text = name in ("read_text", "write_text") or (
                name == "open"
                and owner not in ("archive", "cls", "RunFolder", "Sweep", "os")
                and not any("b" in x for x in given)
            )
            said = any(keyword.arg == "encoding" for keyword in call.keywords)
            assert said or not is_text, f"{file}:{call.lineno}: name the encoding"


def test_extras_that_a_hint_names_exist():
    files = [*(ROOT / "packages").rglob("*.py"), *(ROOT / "experiments").rglob("*.py"), *ROOT.glob("*.md")]
    hints = [hint for file in files for hint in re.findall(r"(?:difflut|\.)\[([\w,]+)\]", file.read_text())]
    extras = {extra for hint in hints for extra in hint.split(",")}
    assert extras and extras <= set(project(ROOT)["project"]["optional-dependencies"])


def modules_of_experiments() -> dict[str, set[str]]:
    """For each module what it imports of `experiments`, names of modules and of what they hold."""
    files = sorted((ROOT / "experiments").rglob("*.py"))
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name: {part for part in imports(file) if part.startswith("experiments.")} for name, file in names.items()}


def test_the_rooms_of_experiments_have_walls():
    folder = ROOT / "experiments"
    doors = {"__init__", "catalogue", "__pycache__"}
    assert {path.stem for path in folder.iterdir()} - doors == set(ROOMS)
    for number, (room, others) in enumerate(ROOMS.items()):
        assert others <= set(list(ROOMS)[:number]), f"{room} comes before a room that it uses"
    used = {room: set() for room in ROOMS}
    for name, imported in modules_of_experiments().items():
        if (room := name.split(".")[1]) in ROOMS:
            used[room] |= {part.split(".")[1] for part in imported} - {room}
    assert used == ROOMS, "rooms use others than `ROOMS` says"


def test_no_job_imports_a_job():
    experiments = modules_of_experiments()
    source = {name: (ROOT / Path(*name.split("."))).with_suffix(".py") for name in experiments}
    jobs = {}
    for name in experiments:
        for job in re.findall(r'^.*\bregister_job\("(\w+)"\)', source[name].read_text(), re.MULTILINE):
            jobs[name] = job
    assert len(jobs) > 5 and all(name.endswith(f".{job}") for name, job in jobs.items()), "a job has the file's name"
    for name, imported in experiments.items():
        if name != "experiments.__init__":
            held = {part for part in imported if part in jobs or part.rpartition(".")[0] in jobs}
            assert not held, f"{name} imports a job"
    assert set(jobs) <= experiments["experiments.__init__"]


def test_no_module_is_hidden_by_a_name_of_its_package():
    for file in (file for file in everything() if file.name == "__init__.py"):
        modules = {
            path.stem for path in file.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        for node in ast.parse(file.read_text()).body:
            # `from package import module as module` is the module itself.
            if isinstance(node, ast.ImportFrom) and not str(file.parent).endswith(node.module.replace(".", "/")):
                hidden = modules & {alias.asname or alias.name for alias in node.names}
                assert not hidden, f"{file}: the module {hidden} cannot be reached"


def test_the_namespace_has_no_init():
    assert not [name for name in ORDER if (ROOT / "packages" / name / "src" / "difflut" / "__init__.py").exists()]


def test_the_top_level_holds_nothing_else():
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - ignored - {"__pycache__"} <= TOP_LEVEL
