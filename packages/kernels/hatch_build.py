from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipSources(BuildHookInterface):
    """Puts the C++ and CUDA sources into the package: the repository's `kernels/`, or an sdist's copy of it."""

    def initialize(self, version: str, build_data: dict) -> None:
        root = Path(self.root)
        sources = next(folder for folder in (root / "kernels", root.parents[1] / "kernels") if folder.is_dir())
        if self.target_name == "sdist":
            build_data["force_include"][str(sources)] = "kernels"
        elif version != "editable":
            build_data["force_include"][str(sources)] = "difflut/kernels/csrc"
