"""The steps of an export: what each took, and which could not be done."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Steps:
    """Runs steps and says what came of them.

    Attributes:
        seconds: Seconds that each step took, in their order.
        not_done: Why a step could not be done.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.not_done: dict[str, str] = {}

    def run(self, name: str, function: Callable[[], T]) -> T:
        """Calls a function, notes its time, and returns its result."""
        start = time.perf_counter()
        result = function()
        self.note(name, time.perf_counter() - start)
        return result

    def note(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds
        print(f"{name}: {seconds:.2f} s", flush=True)

    def attempt(self, name: str, function: Callable[[], T]) -> T | None:
        """Calls a function and returns its result; if it fails, a line says why, and the result is None.

        Tools may be missing, too slow, of another version, or killed; the results of other steps must survive that.
        """
        try:
            return function()
        except Exception as error:
            self.not_done[name] = str(error) or type(error).__name__
            print(f"{name}: not done: {self.not_done[name]}", flush=True)
            return None
