import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from difflut.command import bundled, gin_folder

ROOT = Path(__file__).parents[2]
SHORT = ["train.epochs = 1", "layers.learnable.output_size = 40", "layers.learnable.top_k = 8", "train.runs = 'here'"]


def command(folder, *arguments, **environment):
    line = [sys.executable, "-m", "difflut.command", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment or None)


@pytest.mark.parametrize("name", ["quickstart", "quickstart.gin", "papers/dwn_mnist", "papers/dwn_mnist.gin"])
def test_files_that_come_along_have_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(bundled(name)) == ROOT / "gin_configs" / f"{name.removesuffix('.gin')}.gin"


def test_a_file_of_ones_own_comes_before_those(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("")
    assert bundled("quickstart") == "quickstart"
    assert bundled("no/such.gin") == "no/such.gin"


def test_the_files_lie_in_the_checkout():
    assert gin_folder() == ROOT / "gin_configs"


def test_a_missing_file_is_named(tmp_path):
    result = command(tmp_path, "--gin_file", "quikstart")
    assert result.returncode == 2 and "quikstart" in result.stderr


def test_a_wheel_trains_in_any_folder_and_says_once_without_a_compiler_what_would_make_it_fast(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "runs", "docs", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = "from hatchling.build import build_wheel; print(build_wheel('..'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    folder = tmp_path / "folder"
    folder.mkdir()
    settings = [part for setting in SHORT for part in ("--gin_param", setting)]
    environment = {"PYTHONPATH": str(installed), "CXX": "no-such-compiler", "HOME": str(tmp_path)}
    result = command(folder, "--gin_file", "quickstart", *settings, **environment)
    assert result.returncode == 0, result.stderr
    assert len(list(folder.glob("here/quickstart-*/result.json"))) == 1
    assert result.stderr.count("no C++ compiler was found; install g++, or set CXX") == 1
