import re
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from difflut.registry import JOBS, KINDS

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_imports_no_torch():
    code = "import sys, runpy; sys.argv = ['run.py', '--help']\ntry: runpy.run_path('run.py', run_name='__main__')\n"
    code += "except SystemExit: assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--gin_param" in result.stdout


def test_the_list_names_every_job_component_and_parameter():
    listing = run("--list").stdout
    assert "train(network, optimizer" in listing and "evaluate(checkpoint" in listing
    for registry in KINDS:
        for name in registry:
            assert f"{registry.plural}.{name}(" in listing or f"  {name}(" in listing or f"{name}, " in listing
    assert "degree=2" in listing and "top_k=None" in listing and "mnist" in listing
    assert "\n  quickstart\n      Trains a network of 2000" in listing and "\n  papers/dwn_mnist\n" in listing


# What Windows has not, taken away once torch is there, and then a training.
WITHOUT_UNIX = """
import os, signal, sys, torch
for name in ("fcntl", "resource", "termios"):
    sys.modules[name] = None
for module, name in ((signal, "SIGHUP"), (signal, "SIGKILL"), (os, "sched_getaffinity"), (os, "fork")):
    delattr(module, name)
from difflut.command import main
sys.exit(main())
"""


def test_a_platform_without_what_unix_alone_has_can_train(tmp_path):
    bindings = ["train.epochs = 1", "layers.learnable.output_size = 40", "tracking.mode = 'disabled'"]
    parameters = [part for binding in bindings for part in ("--gin_param", binding)]
    command = [sys.executable, "-c", WITHOUT_UNIX, "--gin_file", "quickstart", *parameters]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and len(list(tmp_path.glob("runs/*/result.json"))) == 1, result.stderr


def test_every_job_has_a_file_to_start_from():
    texts = [path.read_text() for path in (ROOT / "gin_configs").rglob("*.gin")]
    named = {name for text in texts for name in re.findall(r"^run\.job = @(\w+)$", text, re.MULTILINE)}
    ours = {name for name, job in JOBS.items() if job.__module__.startswith("experiments.")}
    assert named == ours


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("dwn", "nodes.dwn(input_dim=6"),
        ("nodes.dwn", "extended finite differences"),
        ("layers.learnable", "neighbouring nodes that share a part"),
        ("step", "schedules.step(optimizer, epochs"),
        ("train", "Args:"),
        ("digits", "1797 handwritten digits"),
        ("phoneme", "OpenML, number 1489"),
    ],
)
def test_one_name_shows_one_component_with_its_docstring(name, shown):
    description = experiments.description(name)
    assert shown in description and description.count("\n\n") >= 1 and "light" not in description


def test_an_unknown_name_to_list_gets_the_closest():
    result = run("--list", "nodes.dnw")
    assert result.returncode == 2 and "nothing is called 'nodes.dnw'; did you mean 'nodes.dwn'" in result.stderr


def test_a_module_beside_the_caller_can_be_imported_and_listed(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from difflut.registry import register_job\n\n@register_job('greet')\ndef greet(word: str = 'hello'):\n"
        "    'Says a word.'\n    print(word)\n"
    )
    (tmp_path / "mine.gin").write_text("import mine\nrun.job = @greet\ngreet.word = 'good day'\n")
    for arguments, shown in (([], "good day"), (["--list", "greet"], "greet(word='hello')\n\nSays a word.")):
        command = [sys.executable, str(ROOT / "run.py"), "--gin_file", "mine.gin", *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.stdout.strip() == shown, result.stderr


def test_a_shipped_file_runs_from_any_folder(tmp_path):
    command = [sys.executable, str(ROOT / "run.py"), "--gin_file", str(ROOT / "gin_configs/ablations/wiring.gin")]
    result = subprocess.run([*command, "--list", "ablate"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and "ablate(dimensions" in result.stdout, result.stderr


def test_a_typo_ends_with_file_and_line_and_no_traceback(tmp_path):
    path = tmp_path / "typo.gin"
    path.write_text("run.job = @train\ntrain.epoch = 3\n")
    result = run("--gin_file", str(path))
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "typo.gin" in result.stderr and "line 2" in result.stderr and "epoch" in result.stderr


def test_nothing_to_run_is_a_usage_error():
    result = run()
    assert result.returncode == 2 and "give a --gin_file to run, or --list" in result.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "gin_configs").rglob("*.gin")), ids=lambda path: path.stem)
def test_every_gin_file_says_what_it_is_how_long_it_takes_and_what_it_reaches(path):
    import experiments  # noqa: F401
    from difflut import config

    config.parse([str(path)])
    header = re.match(r"(#.*\n|\n(?=#))+", text := path.read_text())
    assert header and re.match(r"# [A-Z0-9]", header[0])
    assert f"python run.py --gin_file {path.relative_to(ROOT)}" in header[0]
    if path.parent.name != "papers":  # whose figures `test_reproduce.py` compares with those of the table
        assert re.search(r"(?i)seconds?|minutes?|hours?|\d s\b", header[0]), "say how long it takes"
        assert re.search(r"\b(cores?|CPU|GPU|H\d00)\b", header[0]), "say on what machine"
        if re.search(r"^run\.job = @train$", text, re.MULTILINE):
            assert re.search(r"\d\s(?:# )?%", header[0]), "say what accuracy it reaches"
