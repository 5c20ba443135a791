import subprocess
import sys
from pathlib import Path

import pytest

from difflut.registry import KINDS

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
            assert f"{registry.kind}s.{name}(" in listing
    assert "degree=2" in listing and "top_k=None" in listing and "mnist" in listing


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
def test_every_gin_file_parses_and_begins_with_what_it_is_and_how_to_run_it(path):
    import experiments  # noqa: F401
    from difflut import config

    config.parse([str(path)])
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 2 and path.read_text().startswith(header[0])
    assert any(f"python run.py --gin_file {path.relative_to(ROOT)}" in line for line in header)
