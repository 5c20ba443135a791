"""Compiling kernels once and finding them again."""

import ctypes
import hashlib
import inspect
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from difflut.kernels.sources import source, source_dir


def load(name: str, files: tuple[str, ...], flags: tuple[str, ...]) -> ctypes.CDLL | None:
    """The shared library of some C++ or CUDA sources, compiled if no earlier process has, or None if it cannot be.

    The library lies in the folder of torch's extensions under a name that holds a hash of all it depends on. It is
    compiled in a folder of its own and moved into place, so that neither a killed build nor a simultaneous one harms.
    """
    compiler = _compiler(files)
    if compiler is None:
        kind, remedy = ("CUDA", "set CUDA_HOME") if _is_cuda(files) else ("C++", "install g++, or set CXX")
        return _give_up(name, f"no {kind} compiler was found; {remedy}")
    try:
        library = cache_dir() / f"difflut_{name}_{_fingerprint(compiler, files, flags)}.so"
        if not library.exists():
            _build(name, files, flags, library)
        return ctypes.CDLL(str(library))
    except Exception as error:  # whatever is wrong with a compiler must not stop the training
        log = cache_dir() / f"difflut_{name}.log"
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next((line for line in lines if " error: " in line), lines[0])
        try:
            log.write_text(f"{error}\n")
        except OSError:
            return _give_up(name, reason)
        return _give_up(name, f"{reason}; see {log}")


def cache_dir() -> Path:
    """Where compiled kernels are kept: in `TORCH_EXTENSIONS_DIR`, by default `~/.cache/torch_extensions`."""
    base = os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions"
    return Path(base) / "difflut"


def _build(name: str, files: tuple[str, ...], flags: tuple[str, ...], library: Path) -> None:
    print(f"difflut: compiling {name} kernels (once, a few seconds) into {library.parent}", file=sys.stderr, flush=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    from torch.utils.cpp_extension import load_inline

    # Before torch 2.8 its headers cannot be left out, and a build takes half a minute.
    lean = {"no_implicit_headers": True} if "no_implicit_headers" in inspect.signature(load_inline).parameters else {}
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder, _ninja_on_path():
        built = load_inline(
            f"difflut_{name}",
            [source(file) for file in files if not file.endswith(".cu")],
            [source(file) for file in files if file.endswith(".cu")] or None,
            extra_cflags=list(flags),
            extra_cuda_cflags=list(flags),
            extra_ldflags=[flag for flag in flags if flag == "-fopenmp"],
            extra_include_paths=[str(source_dir())],
            build_directory=folder,
            is_python_module=False,
            **lean,
        )
        os.replace(built, library)


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    # pip installs ninja beside the interpreter, which is not on PATH where the environment is not activated.
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join((path, str(Path(sys.executable).parent)))
    try:
        yield
    finally:
        os.environ["PATH"] = path


def _fingerprint(compiler: str, files: tuple[str, ...], flags: tuple[str, ...]) -> str:
    """A hash of the sources, the flags, the compiler and the processor's features."""
    digest = hashlib.sha256()
    binary = Path(compiler).resolve()
    stat = binary.stat()
    headers = sorted(path.name for path in source_dir().glob("*.*h"))
    processor = _gpus() if _is_cuda(files) else _cpu()
    for part in (
        *map(source, (*files, *headers)),
        *flags,
        str(binary),
        os.environ.get("CXX", ""),
        str(stat.st_size),
        str(stat.st_mtime),
        processor,
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _is_cuda(files: tuple[str, ...]) -> bool:
    return files[0].endswith(".cu")


def _compiler(files: tuple[str, ...]) -> str | None:
    if not _is_cuda(files):
        return shutil.which(shlex.split(os.environ.get("CXX", "c++"))[0])
    from torch.utils.cpp_extension import CUDA_HOME

    return shutil.which("nvcc", path=f"{CUDA_HOME}/bin") if CUDA_HOME else None


def _gpus() -> str:
    """What torch chooses the architectures by."""
    capabilities = {torch.cuda.get_device_capability(device) for device in range(torch.cuda.device_count())}
    return f"{sorted(capabilities)} {os.environ.get('TORCH_CUDA_ARCH_LIST')}"


def _cpu() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _give_up(name: str, reason: str) -> None:
    print(f"difflut: no {name} kernels, the slower torch reference is used: {reason}", file=sys.stderr, flush=True)
