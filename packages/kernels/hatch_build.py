import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipSources(BuildHookInterface[Any]):
    """Puts the C++ and CUDA sources into the package: the repository's `kernels/`, or an sdist's copy of it.

    Libraries that `python -m difflut.kernels.prebuild` compiled come along, and make the wheel one for this platform.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root, include = Path(self.root), build_data["force_include"]
        sources = next(folder for folder in (root / "kernels", root.parents[1] / "kernels") if folder.is_dir())
        if self.target_name == "sdist":
            include[str(sources)] = "kernels"
        elif version != "editable":
            include[str(sources)] = "difflut/kernels/csrc"
            for library in (sources.parent / "build" / "prebuilt").glob("*.so"):
                include[str(library)] = f"difflut/kernels/prebuilt/{library.name}"
                build_data["pure_python"] = False
                build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
