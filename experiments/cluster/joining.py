"""Ray: started on this machine, or the cluster at an address; quiet in either case."""

import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difflut.config import ConfigurationError
from experiments.shared.failures import in_a_line

ROOT = Path(__file__).parents[2]
REMEDY = "start a cluster there with 'ray start --head', or unset ablate.address and RAY_ADDRESS"
# What a worker needs of the repository.
SHIPPED = ("experiments", "packages", "kernels", "gin_configs", "run.py", "pyproject.toml")

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # Tune's own files are of no use here: the sweep's folder is the record.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The result's objectives come with the last report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


# Of Ray on this machine alone: it listens on the loopback address, and to those who know a token of this process.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
# Below it Ray makes sockets, whose paths may have 103 characters.
LONGEST_FOLDER = 30


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Joins the cluster at `address`, or at `RAY_ADDRESS`, or starts Ray here; leaves it, or stops it, at the end.

    To a cluster the code goes along: every worker runs the packages as they are in this repository. Ray that is started
    here can be reached from this machine only, with a token.

    Raises:
        ConfigurationError: No cluster answers at the address, or Ray cannot be started.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        token = {} if "RAY_AUTH_MODE" in os.environ else {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        settings = QUIET | ALONE | token
    else:
        _check_answers(address)
        settings = QUIET
    os.environ.update({name: os.environ.get(name, value) for name, value in settings.items()})
    import ray

    on_termination = signal.getsignal(signal.SIGTERM)
    with _short_folder() as folder:
        if address == "local":
            options: dict[str, Any] = {"include_dashboard": False, "_temp_dir": folder}
        else:
            options = {"runtime_env": _shipped_code()}
        try:
            ray.init(address, **options, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray has one of its own for each thing that can be wrong
            reason = in_a_line(error).rstrip(".")
            if address == "local":
                raise ConfigurationError(f"Ray cannot be started on this machine: {reason}") from error
            raise ConfigurationError(f"Ray at {address!r} cannot be used: {reason}; {REMEDY}") from error
        # Ray's own handler ends the process with a dump of its stack.
        signal.signal(signal.SIGTERM, on_termination)
        # Errors of trials are told in a line, not by their tracebacks.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _short_folder() -> Iterator[str | None]:
    """Where Ray may put its sockets; None is its own choice."""
    if len(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) <= LONGEST_FOLDER:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


def _check_answers(address: str) -> None:
    # Ray itself would try for minutes.
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigurationError(f"no Ray cluster answers at {address} ({error}); {REMEDY}") from error


def slots(cpus: float, gpus: float) -> int:
    """How many trials fit at once.

    Raises:
        ConfigurationError: Not even one does.
    """
    import ray

    available = ray.cluster_resources()
    wanted_resources = {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = sum(
        min(int(node.get(name, 0) / amount + 1e-9) for name, amount in wanted_resources.items()) for node in nodes
    )
    if not fit:
        raise ConfigurationError(
            f"a trial needs {wanted_resources}, and no node has as much: the cluster has "
            f"{ {name: available.get(name, 0) for name in wanted_resources} }; "
            "lower ablate.cpus_per_trial or ablate.gpus_per_trial"
        )
    return fit


def _shipped_code() -> dict[str, Any]:
    if not (ROOT / "packages").is_dir():
        return {}  # installed from a wheel, as it must be on the cluster too
    # The worker starts in the copy of the repository, so relative paths do; they come before installed packages.
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("packages/*/src"))
    others = sorted(path.name for path in ROOT.iterdir() if path.name not in SHIPPED)
    return {
        "working_dir": str(ROOT),
        "excludes": [*(f"/{name}" for name in others), "__pycache__"],
        "env_vars": {"PYTHONPATH": ":".join([".", *sources])},
    }
