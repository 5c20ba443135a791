"""The models that come along, by name."""

import os
from pathlib import Path

from difflut.pretrained.model import CARD, ModelError, Pretrained, read_model
from difflut.registry import closest

SHIPPED = Path(__file__).parent / "models"


def names() -> list[str]:
    """The names of the models that come along, sorted."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))


def folder_of(name: str | os.PathLike[str]) -> Path:
    """The folder of a model that comes along. Any other name is the path of a folder, and returned as it is."""
    return SHIPPED / name if str(name) in names() else Path(name)


def load(name: str | os.PathLike[str]) -> Pretrained:
    """Loads a model; runs no code from its files.

    Args:
        name: One of `names()`, or the folder that the job `publish` wrote.

    Raises:
        ModelError: There is no such model, or one of its files is damaged.
    """
    folder = folder_of(name)
    if not (folder / CARD).is_file():
        raise ModelError(f"{name}: no model, and no folder with a {CARD}; {closest(name, names())}")
    return read_model(folder)
