import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from difflut.command import gin_folder

ROOT = Path(__file__).parents[2]
SHORT = ["train.epochs = 1", "layers.learnable.output_size = 40", "layers.learnable.top_k = 8", "train.runs = 'here'"]


def command(folder, *arguments, **environment):
    line = [sys.executable, "-m", "difflut.command", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, env=environment or None)


def test_the_files_lie_in_the_checkout():
    assert gin_folder() == ROOT / "gin_configs"


def test_a_missing_file_is_named_beside_one_that_is_spelled_like_it(tmp_path):
    result = command(tmp_path, "--gin_file", "quikstart")
    assert result.returncode == 2
    assert "there is no Gin file 'quikstart'; did you mean 'quickstart'?" in result.stderr


def test_a_file_without_its_option_gets_it(tmp_path):
    result = command(tmp_path, "quickstart")
    assert result.returncode == 2 and result.stderr.endswith("quickstart; did you mean --gin_file quickstart?\n")
    result = command(tmp_path, "--gin_files", "quickstart", "--lost")
    assert result.returncode == 2 and result.stderr.endswith("unrecognized arguments: --gin_files quickstart --lost\n")


def built_wheel(folder, *libraries):
    """A wheel of a copy of the checkout, which has these compiled libraries."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "docs", "tests", "build")
    shutil.copytree(ROOT, source, ignore=ignored)
    for name in libraries:
        (source / "build" / "prebuilt").mkdir(parents=True, exist_ok=True)
        (source / "build" / "prebuilt" / name).write_bytes(b"compiled")
    build = "from hatchling.build import build_wheel; print(build_wheel('..'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_a_wheel_with_compiled_kernels_is_one_for_the_platform(tmp_path):
    wheel = built_wheel(tmp_path, "cpp-x86-64-v3-0.so")
    assert not wheel.name.endswith("-any.whl") and "-py3-none-" in wheel.name
    files = zipfile.ZipFile(wheel)
    assert "difflut/kernels/prebuilt/cpp-x86-64-v3-0.so" in files.namelist()
    (described,) = (name for name in files.namelist() if name.endswith(".dist-info/WHEEL"))
    assert b"Root-Is-Purelib: false" in files.read(described)


def test_a_wheel_trains_in_any_folder_and_says_once_without_a_compiler_what_would_make_it_fast(tmp_path):
    wheel, installed = built_wheel(tmp_path), tmp_path / "installed"
    assert wheel.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    folder = tmp_path / "folder"
    folder.mkdir()
    settings = [part for setting in SHORT for part in ("--gin_param", setting)]
    environment = {"PYTHONPATH": str(installed), "CXX": "no-such-compiler", "HOME": str(tmp_path)}
    result = command(folder, "--gin_file", "quickstart", *settings, **environment)
    assert result.returncode == 0, result.stderr
    assert len(list(folder.glob("here/quickstart-*/result.json"))) == 1
    assert result.stderr.count("no C++ compiler was found; install g++, or set CXX") == 1
