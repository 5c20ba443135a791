"""C++ kernels that came with a wheel, compiled by `difflut.kernels.prebuild`, so that no compiler is needed."""

import hashlib
import platform
from pathlib import Path

import torch

from difflut.kernels.sources import source, source_dir

FOLDER = Path(__file__).parent / "prebuilt"
# By machine, what torch calls the abilities of its processor, and the architecture that they are compiled for.
LEVELS = {"x86_64": {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}, "aarch64": {"any": "armv8-a"}}


def find(name: str, files: tuple[str, ...], flags: tuple[str, ...]) -> Path | None:
    """The library of these sources for the present processor, if it came along."""
    levels = LEVELS.get(platform.machine(), {})
    level = levels.get(torch.backends.cpu.get_cpu_capability(), levels.get("any"))
    if level is None or not FOLDER.is_dir():
        return None
    path = FOLDER / file_name(name, files, flags, level)
    return path if path.exists() else None


def file_name(name: str, files: tuple[str, ...], flags: tuple[str, ...], level: str) -> str:
    """The name of a library, with a hash of its sources and options, so that another source has another name."""
    headers = sorted(path.name for path in source_dir().glob("*.h"))
    parts = "\0".join([*flags, *map(source, (*files, *headers))])
    return f"{name}-{level}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}.so"
