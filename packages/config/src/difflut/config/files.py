"""Where Gin finds the files that are named, on a command line or by `include`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import gin

_reading: list[Path] = []  # the folders of the files that include each other, the innermost last
_last: list[Path] = []


def look_in(folder: Path) -> None:
    """Adds a folder in which files are looked for last; their names may begin with the folder's."""
    if folder not in _last:
        _last.append(folder)


def bundled_files() -> dict[str, Path]:
    """The Gin files in the folders that `look_in` was given, by their names, such as `papers/dwn_mnist`."""
    found = {path.relative_to(folder): path for folder in reversed(_last) for path in folder.rglob("*.gin")}
    return {name.with_suffix("").as_posix(): found[name] for name in sorted(found)}


def found(name: str) -> Path | None:
    """The file of that name in the present folder or, where a file includes it, in that file's folder or one above.

    Then come the folders that `look_in` was given. The ending `.gin` may be left out.
    """
    above = [folder for including in reversed(_reading) for folder in (including, *including.parents)]
    last = [place for folder in _last for place in (folder, folder.parent)]
    places = [folder / name for folder in (Path(), *above, *last)]
    return next((path for place in places for path in (place, Path(f"{place}.gin")) if path.is_file()), None)


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
