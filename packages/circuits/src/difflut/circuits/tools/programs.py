"""Running the programs of others."""

import subprocess
from collections.abc import Sequence

SHOWN = 4000  # characters of what a program said last, which name its error


def run(
    name: str, command: Sequence[str], timeout: float, folder: str | None = None, may_fail: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a command and gives what it wrote.

    Args:
        name: Name of the program in errors.
        command: The program and its arguments.
        timeout: Seconds that it may take.
        folder: Folder in which it runs; None is the present folder.
        may_fail: Whether its exit status is left to the caller.

    Raises:
        RuntimeError: It fails.
        TimeoutError: It takes longer.
    """
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{name} was not done within {timeout:g} s") from error
    if result.returncode and not may_fail:
        raise RuntimeError(f"{name} failed:\n{(result.stderr or result.stdout)[-SHOWN:]}")
    return result
