"""Where Gin finds the files that are named, on a command line or by `include`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import gin

_reading: list[Path] = []  # the folders of the files that include each other, the innermost last
_last: list[Path] = []


def look_in(folder: Path) -> None:
    """Adds a folder in which files are looked for last."""
    if folder not in _last:
        _last.append(folder)


def found(name: str) -> Path | None:
    """The file of that name in the present folder or, where a file includes it, in that file's folder or one above.

    Then come the folders that `look_in` was given.
    """
    above = [folder for including in reversed(_reading) for folder in (including, *including.parents)]
    return next((path for path in (Path(name), *(folder / name for folder in above + _last)) if path.is_file()), None)


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    path = found(name)
    assert path is not None  # Gin asks before
    with path.open(encoding="utf-8") as file:
        _reading.append(path.resolve().parent)
        try:
            yield file
        finally:
            _reading.pop()


# In the place of Gin's own, which looks in the present folder alone.
gin.config._FILE_READERS[:] = [(_opened, lambda name: found(name) is not None)]
