"""Where the C++ and CUDA sources of the kernels lie."""

from pathlib import Path


def source_dir() -> Path:
    """The folder of sources: `csrc/` in an installed wheel, the repository's `kernels/` in a checkout."""
    installed = Path(__file__).parent / "csrc"
    return installed if installed.is_dir() else Path(__file__).parents[5] / "kernels"


def source(name: str) -> str:
    """The text of a source file."""
    return (source_dir() / name).read_text(encoding="utf-8")
