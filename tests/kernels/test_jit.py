import os
import platform
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from difflut.circuits.engine import cpu
from difflut.kernels import jit, prebuild, prebuilt, sources
from difflut.kernels.cpp import calling
from difflut.kernels.cpp.calling import FILES, FLAGS
from difflut.kernels.sources import source, source_dir

ROOT = Path(__file__).parents[2]

SCRIPT = """
import torch
from difflut import kernels

x = torch.tensor([[1.0, 0.0, 0.7]])
y = kernels.lookup(x, torch.tensor([[0, 1], [1, 2]]), torch.arange(8.0).view(2, 1, 4))
print(kernels.backend_for(x).name, y.tolist())
"""


def run(cache, **environment):
    environment = {**os.environ, "TORCH_EXTENSIONS_DIR": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split(" ", 1), done.stderr.splitlines()


def test_sources_are_found():
    assert source_dir().samefile(ROOT / "kernels")
    assert all('extern "C"' in source(file) or "namespace" in source(file) for file in FILES)


@pytest.mark.needs("c++")
def test_one_process_compiles_and_the_next_reuses(tmp_path):
    stale = tmp_path / "difflut" / "build-killed"
    stale.mkdir(parents=True)
    (stale / "lock").touch()
    (name, output), messages = run(tmp_path)
    assert name == "cpp" and output.startswith("[[1.0, 6.0]]")
    assert len(messages) == 1 and "compiling" in messages[0]
    assert sorted(path.suffix for path in (tmp_path / "difflut").iterdir()) == ["", ".lock", ".so"]
    assert run(tmp_path) == (["cpp", output], [])


# Loads a library of one line, which is compiled in a second.
TINY = """
import sys
from pathlib import Path

from difflut.kernels import jit, sources

jit.source_dir = sources.source_dir = lambda: Path(sys.argv[1])
Path(sys.argv[1], "tiny.cpp").write_bytes('extern "C" int two() { return 2; }  // \\u00dc\\n'.encode())
print(jit.load("tiny", ("tiny.cpp",), ("-O0",)).two())
"""

# A build of torch for CUDA on a machine with CUDA's toolkit, but without a GPU.
LOGIN_NODE = f"""
import torch

torch.cuda._is_compiled = lambda: True
torch.cuda.is_available = lambda: False
torch.version.cuda = "12.6"
{TINY}"""


def load_tiny(folder, script=TINY, **environment):
    environment = {**os.environ, "TORCH_EXTENSIONS_DIR": str(folder), **environment}
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
    return done.stderr.splitlines()


@pytest.mark.needs("c++")
def test_a_damaged_library_is_compiled_anew(tmp_path):
    load_tiny(tmp_path)
    (library,) = (tmp_path / "difflut").glob("*.so")
    library.write_bytes(library.read_bytes()[:5000])  # to load it may end the process
    damaged, compiling = load_tiny(tmp_path)
    assert f"{library} is damaged" in damaged and "compiling" in compiling
    assert load_tiny(tmp_path) == []


@pytest.mark.needs("c++")
def test_of_several_processes_one_compiles_and_the_others_wait(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(load_tiny, 3 * [tmp_path]))
    assert [len(messages) for messages in sorted(told, key=len)] == [0, 0, 1]


@pytest.mark.needs("c++")
@pytest.mark.parametrize(
    "environment,script",
    [
        ({"CXX": ""}, TINY),
        ({"CXX": "  "}, TINY),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, TINY),
        ({"CUDA_HOME": "/usr/local/cuda"}, LOGIN_NODE),
    ],
    ids=["empty CXX", "blank CXX", "locale C", "toolkit without GPU"],
)
def test_kernels_are_compiled_on_unusual_machines(tmp_path, environment, script):
    (message,) = load_tiny(tmp_path, script, **environment)
    assert "compiling" in message


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.needs("c++")
def test_the_kernels_use_the_openmp_runtime_of_torch():
    look = "for line in open('/proc/self/maps'): print(line.split()[-1]) if 'omp' in line and 'r-xp' in line else None"
    script = f"from difflut.kernels import cpp\ncpp.available()\n{look}"
    runtimes = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert len(set(runtimes)) == 1, "two runtimes would fight for the cores"


@pytest.mark.parametrize(
    "environment,lines,reason",
    [
        ({"PATH": sysconfig.get_path("scripts"), "CXX": "c++"}, 1, "no C++ compiler was found; install g++"),
        ({"CXX": "false"}, 2, ".log"),
        ({"CXX": "'g++"}, 1, "unset it"),
        ({"DIFFLUT_BACKEND": "reference"}, 0, ""),
    ],
    ids=["no compiler", "broken compiler", "no command", "forced"],
)
def test_reference_serves_where_nothing_can_be_compiled(tmp_path, environment, lines, reason):
    (name, output), messages = run(tmp_path, **environment)
    assert name == "reference" and output.startswith("[[1.0, 6.0]]")
    assert len(messages) == lines and reason in "".join(messages[-1:])


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A library of one line as an installed wheel has it."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "tiny.cpp").write_text('extern "C" int two() { return 2; }')
    for module in (sources, prebuilt, prebuild):
        monkeypatch.setattr(module, "source_dir", lambda: folder)
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "prebuilt")
    built = prebuild.build("tiny", ("tiny.cpp",), prebuilt.FOLDER)
    assert [path.name.rsplit("-", 1)[0] for path in built] == ["tiny-x86-64-v3", "tiny-x86-64-v4"]
    return folder / "tiny.cpp"


x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="wheels have kernels for x86-64")


@x86
@pytest.mark.needs("c++")
@pytest.mark.parametrize(("capability", "level"), [("AVX2", "v3"), ("AVX512", "v4")])
def test_a_library_that_came_along_for_the_processor_is_loaded_without_a_compiler(tiny, capability, level, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setenv("CXX", "no-such-compiler")
    loaded = jit.load("tiny", ("tiny.cpp",), FLAGS)
    assert loaded.two() == 2 and f"tiny-x86-64-{level}-" in loaded._name


def test_on_aarch64_one_library_serves_all_processors(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path)
    library = tmp_path / prebuilt.file_name("engine", ("engine.cpp",), FLAGS, "armv8-a")
    for capability in ("DEFAULT", "SVE256"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        library.unlink(missing_ok=True)
        assert prebuilt.find("engine", ("engine.cpp",), FLAGS) is None
        library.touch()
        assert prebuilt.find("engine", ("engine.cpp",), FLAGS) == library


def test_wheels_for_other_machines_have_no_kernels(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert prebuilt.find("engine", ("engine.cpp",), FLAGS) is None
    with pytest.raises(RuntimeError, match="for x86_64 and aarch64, and this machine is riscv64"):
        prebuild.build("engine", ("engine.cpp",), tmp_path)


@x86
@pytest.mark.needs("c++")
def test_a_library_of_other_sources_or_for_another_processor_is_not(tiny, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert jit.load("tiny", ("tiny.cpp",), FLAGS) is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    tiny.write_text(tiny.read_text().replace("2;", "3;"))
    assert jit.load("tiny", ("tiny.cpp",), FLAGS) is None
    assert capsys.readouterr().err.count("no C++ compiler was found") == 2


def test_what_is_compiled_for_a_wheel_is_what_is_loaded(monkeypatch):
    asked = {}
    monkeypatch.setattr(jit, "load", lambda name, files, flags: asked.update({name: (files, flags)}))
    calling.library.__wrapped__()
    cpu.library.__wrapped__()
    assert asked == {name: (files, FLAGS) for name, files in prebuild.LIBRARIES.items()}
