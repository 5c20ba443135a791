"""Compiles the C++ kernels for a wheel: `python -m difflut.kernels.prebuild`, in a checkout on Linux.

On x86-64 they are compiled for processors with AVX2 and for those with AVX-512, on aarch64 for all, into
`build/prebuilt`, from where `pip wheel .` takes them; the wheel is then one for this platform. A checkout compiles
for its own processor on first use.
"""

import platform
import subprocess
from pathlib import Path

from difflut.kernels.cpp.calling import FILES, FLAGS
from difflut.kernels.jit import compiler_command
from difflut.kernels.prebuilt import LEVELS, file_name
from difflut.kernels.sources import source_dir

# What serves layers, and the engine of `difflut.circuits`.
LIBRARIES = {"cpp": FILES, "engine": ("engine.cpp",)}
NATIVE = "-march=native"


def build(name: str, files: tuple[str, ...], folder: Path) -> list[Path]:
    """Compiles a library for every level of processor; earlier libraries of the same name are removed.

    Raises:
        RuntimeError: The compiler refuses the sources, or the machine is another.
    """
    machine = platform.machine()
    if machine not in LEVELS:
        raise RuntimeError(f"a wheel can have kernels for {' and '.join(LEVELS)}, and this machine is {machine}")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-*.so"):
        old.unlink()
    made = []
    for level in LEVELS[machine].values():
        path = folder / file_name(name, files, FLAGS, level)
        flags = [f"-march={level}" if flag == NATIVE else flag for flag in FLAGS]
        command = [*compiler_command(), *flags, "-std=c++17", "-shared", "-fPIC", "-static-libstdc++",
                   "-I", str(source_dir()), "-x", "c++", "-", "-o", str(path)]  # fmt: skip
        includes = "".join(f'#include "{file}"\n' for file in files)
        done = subprocess.run(command, input=includes, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        made.append(path)
    return made


if __name__ == "__main__":
    for name, files in LIBRARIES.items():
        for path in build(name, files, source_dir().parent / "build" / "prebuilt"):
            print(path)
