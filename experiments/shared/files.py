"""Files that jobs write whole or not at all, since a job may be killed, and its files read, at any moment; locks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difflut.models import write_whole


def write_file(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, text as UTF-8."""
    write_whole(path, content.encode() if isinstance(content, str) else content)


def write_json(path: Path, content: Any) -> None:
    """Writes a value as JSON, whole or not at all."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path, default: Any = None) -> Any:
    """The value that a JSON file holds; the default where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds the lock of a file, which ends with the process; where a platform has no such locks, none is held.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is false.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
