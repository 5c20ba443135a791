"""Compiling kernels once and finding them again."""

import ctypes
import hashlib
import importlib
import logging
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import torch

from difflut.kernels import prebuilt
from difflut.kernels.sources import source, source_dir


def load(name: str, files: tuple[str, ...], flags: tuple[str, ...]) -> ctypes.CDLL | None:
    """The shared library of some C++ or CUDA sources, compiled if no earlier process has, or None if it cannot be.

    The library lies in the folder of torch's extensions under a name that holds a hash of all it depends on and one of
    its content, so that a damaged one is compiled anew. One process compiles, and others that need the same wait for
    it. It is compiled in a folder of its own and moved into place, so that a killed build does no harm. A library that
    came with the wheel is taken instead.
    """
    try:
        if shipped := prebuilt.find(name, files, flags):
            return ctypes.CDLL(str(shipped))
        compiler = _compiler(files)
        if compiler is None:
            kind, remedy = ("CUDA", "set CUDA_HOME") if _is_cuda(files) else ("C++", "install g++, or set CXX")
            _give_up(name, f"no {kind} compiler was found; {remedy}")
            return None
        stem = f"difflut_{name}_{_fingerprint(compiler, files, flags)}"
        if (library := _intact(stem)) is None:
            with _alone(name):
                library = _intact(stem) or _build(name, files, flags, stem)
        return ctypes.CDLL(str(library))
    except Exception as error:  # no fault of a compiler may stop the training
        log = cache_dir() / f"difflut_{name}.log"
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next((line for line in lines if " error: " in line), lines[0])
        try:
            log.write_text(f"{error}\n", encoding="utf-8")
            reason = f"{reason}; see {log}"
        except OSError:
            pass
        _give_up(name, reason)
        return None


def cache_dir() -> Path:
    """Where compiled kernels are kept: in `TORCH_EXTENSIONS_DIR`, by default `~/.cache/torch_extensions`."""
    base = os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions"
    return Path(base) / "difflut"


def _intact(stem: str) -> Path | None:
    """The library of an earlier build that is as it was written; to load a damaged one may end the process."""
    for library in sorted(cache_dir().glob(f"{stem}-*.so")):
        if library.stem == f"{stem}-{_digest(library)}":
            return library
        print(f"difflut: {library} is damaged, and compiled anew", file=sys.stderr, flush=True)
        with suppress(OSError):
            library.unlink()
    return None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Within, no other process compiles these kernels; the lock of one that was killed is free."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f"difflut_{name}.lock").open("wb") as file:
        if sys.platform != "win32":  # where there is no such lock, each process compiles for itself
            import fcntl

            with suppress(OSError):  # as on some shared disks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(name: str, files: tuple[str, ...], flags: tuple[str, ...], stem: str) -> Path:
    folder = cache_dir()
    print(f"difflut: compiling {name} kernels (once, a few seconds) into {folder}", file=sys.stderr, flush=True)
    load_inline = _cpp_extension().load_inline

    # Sources are included, since torch writes the text that it is given in the encoding of the locale.
    includes = [f'#include "{file}"' for file in files]
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as work, _build_environment():
        built = Path(
            load_inline(
                f"difflut_{name}",
                [] if _is_cuda(files) else includes,
                includes if _is_cuda(files) else None,
                extra_cflags=list(flags),
                extra_cuda_cflags=list(flags),
                extra_ldflags=[flag for flag in flags if flag == "-fopenmp"],
                extra_include_paths=[str(source_dir())],
                build_directory=work,
                is_python_module=False,
                no_implicit_headers=True,  # with torch's headers a build takes half a minute
            )
        )
        library = folder / f"{stem}-{_digest(built)}.so"
        os.replace(built, library)
    return library


def _cpp_extension() -> ModuleType:
    # Its import warns where there is a CUDA toolkit and no GPU, as on the login node of a cluster.
    logger = logging.getLogger("torch.utils.cpp_extension")
    before, logger.disabled = logger.disabled, True
    try:
        return importlib.import_module("torch.utils.cpp_extension")
    finally:
        logger.disabled = before


@contextmanager
def _build_environment() -> Iterator[None]:
    # pip installs ninja beside the interpreter, which is not on PATH where the environment is not activated.
    before = {name: os.environ.get(name) for name in ("PATH", "CXX")}
    os.environ["PATH"] = os.pathsep.join((before["PATH"] or "", str(Path(sys.executable).parent)))
    os.environ["CXX"] = shlex.join(compiler_command())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
        *compiler_command(),
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
        return shutil.which(compiler_command()[0])
    home = _cpp_extension().CUDA_HOME
    return shutil.which("nvcc", path=f"{home}/bin") if home else None


def compiler_command() -> list[str]:
    """The C++ compiler as its users name it: a command, maybe with arguments; set but empty is not set.

    Raises:
        ValueError: What is set is no command.
    """
    named = os.environ.get("CXX", "")
    try:
        return shlex.split(named) or ["c++"]
    except ValueError as error:
        raise ValueError(f"CXX={named!r} is no command ({error}); correct it, or unset it") from error


def _gpus() -> str:
    """The GPUs and settings by which torch chooses the architectures."""
    capabilities = {torch.cuda.get_device_capability(device) for device in range(torch.cuda.device_count())}
    return f"{sorted(capabilities)} {os.environ.get('TORCH_CUDA_ARCH_LIST')}"


def _cpu() -> str:
    """The features of the processor, on which -march=native depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _give_up(name: str, reason: str) -> None:
    print(f"difflut: no {name} kernels, the slower torch reference is used: {reason}", file=sys.stderr, flush=True)
