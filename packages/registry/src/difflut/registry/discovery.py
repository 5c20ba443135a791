"""Finding components without importing their packages by hand."""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

ENTRY_POINT_GROUP = "difflut.components"


@cache
def import_components() -> None:
    """Imports every installed package that announces components through an entry point of the group above."""
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        entry_point.load()


def import_submodules(package: ModuleType) -> None:
    """Imports all modules of a package, so that a component registers by lying in its folder."""
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)
