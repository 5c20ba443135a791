"""Trial folders on nodes that do not see the sweep's: their files travel through Ray."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.shared.files import write_file


class Office:
    """Reads and writes the trials' folders where the sweep's folder is; an actor for workers elsewhere."""

    def __init__(self, trials: Path) -> None:
        self.trials = trials

    def read(self, id: str) -> dict[str, bytes]:
        """The files of a trial by their paths in its folder."""
        folder = self.trials / id
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def write(self, id: str, files: dict[str, bytes]) -> None:
        """Puts files into a trial's folder, each whole or not at all."""
        for name, content in files.items():
            path = self.trials / id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)


class Courier:
    """Carries the files of one trial between a folder on this node and the office.

    Args:
        call: Function that calls a method of the office, given its name and arguments.
        id: The trial's.
        folder: Folder on this node.
    """

    def __init__(self, call: Callable[..., Any], id: str, folder: Path) -> None:
        self.call, self.id, self.folder = call, id, folder
        self._sent: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Brings what earlier attempts left."""
        Office(self.folder.parent).write(self.folder.name, self.call("read", self.id))
        self._sent = self._versions()

    def send(self) -> None:
        """Takes along what has changed; the state belongs to the office's side."""
        versions = self._versions()
        changed = [name for name, version in versions.items() if self._sent.get(name) != version]
        self.call("write", self.id, {name: (self.folder / name).read_bytes() for name in changed})
        self._sent = versions

    def _versions(self) -> dict[str, tuple[int, int]]:
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name not in (".lock", "trial.json")]
        return {str(path.relative_to(self.folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def open_office(trials: Path) -> Any:
    """Starts the office as an actor on this node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Office).options(num_cpus=0, scheduling_strategy=this_node).remote(trials)


@contextmanager
def trial_folder(trials: Path, id: str, mark: Path, office: Any) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The folder in which a trial trains, and a function that brings its files home.

    Args:
        trials: The folder of trials, as it is called where the sweep was started.
        mark: A file that is there if this node sees the sweep's folder.
        office: The actor; None where all nodes are one.

    Raises:
        FileNotFoundError: The sweep's folder is not seen, and there is no office.
    """
    if mark.exists():
        folder = trials / id
        folder.mkdir(parents=True, exist_ok=True)
        yield folder, lambda: None
        return
    if office is None:
        raise FileNotFoundError(f"{trials} is not on {socket.gethostname()}")
    import ray

    with tempfile.TemporaryDirectory(prefix="difflut-trial-", ignore_cleanup_errors=True) as parent:
        courier = Courier(
            lambda method, *arguments: ray.get(getattr(office, method).remote(*arguments)), id, Path(parent, id)
        )
        courier.folder.mkdir()
        courier.fetch()
        try:
            yield courier.folder, courier.send
        finally:
            courier.send()
