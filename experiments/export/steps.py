"""The steps of an export: what each took, and which could not be done."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from experiments.shared.failures import JobError

SHOWN = 200  # characters of a reason
T = TypeVar("T")


class Steps:
    """Runs steps and says what came of them.

    Attributes:
        seconds: Seconds that each step took, in their order.
        not_done: Why a step could not be done.
        failed: The steps among these that count as failures, and the argument that asked for each, if any.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.not_done: dict[str, str] = {}
        self.failed: dict[str, str | None] = {}

    def run(self, name: str, function: Callable[[], T]) -> T:
        """Calls a function, notes its time, and returns its result."""
        start = time.perf_counter()
        result = function()
        self.note(name, time.perf_counter() - start)
        return result

    def note(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds
        print(f"{name}: {seconds:.2f} s", flush=True)

    def attempt(self, name: str, function: Callable[[], T], wish: str | None = None) -> T | None:
        """Calls a function and returns its result; if it fails, a line says why, and the result is None.

        Tools may be too slow, of another version, or killed; the results of other steps must survive that.

        Args:
            wish: The argument that asks for the step; None is a step by default, whose tool may be missing.
        """
        try:
            return function()
        except Exception as error:
            self.not_done[name] = str(error) or type(error).__name__
            print(f"{name}: not done: {self.not_done[name]}", flush=True)
            if wish or not isinstance(error, FileNotFoundError):
                self.failed[name] = wish
            return None

    def check_done(self, folder: Path) -> None:
        """Raises what failed, when all else is written.

        Raises:
            JobError: A step failed.
        """
        if not self.failed:
            return
        told = "; ".join(f"{name}: {_shortened(self.not_done[name])}" for name in self.failed)
        wishes = ", ".join(dict.fromkeys(filter(None, self.failed.values())))
        without = f", or without {wishes}" if wishes else ""
        raise JobError(f"{folder} has all but {told}; export again when that is mended{without}")


def _shortened(reason: str) -> str:
    """A reason in one line; of a long one the end, where programs say what is wrong."""
    line = " ".join(reason.split())
    return line if len(line) <= SHOWN else f"… {line[-SHOWN:]}"
