"""How many threads train on a CPU: all, or one where other processes keep the cores busy."""

import math
import os
import time
from collections.abc import Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

WARM_UP = 2  # steps, the first of which may compile
TRIED = 4  # steps with each number of threads
PAUSE = 20.0  # seconds until both are tried again, as other processes come and go


class Threads:
    """Takes the number of threads with which steps were quicker when both were last tried.

    Threads that share an operation wait for each other in a busy loop. Where one of them has no core to run on, all
    wait, and many threads may be twenty times slower than one. Results do not depend on the number. Where
    `OMP_NUM_THREADS` is set, its number is taken and nothing is tried.

    Attributes:
        taken: The number that steps take at present.
    """

    def __init__(self, device: torch.device) -> None:
        self.most = self.taken = torch.get_num_threads()
        self.may_choose = device.type == "cpu" and self.most > 1 and "OMP_NUM_THREADS" not in os.environ
        self._warm_up, self._due = WARM_UP, -math.inf
        self._to_try: list[int] = []
        self._spent: dict[int, float] = {}

    def run(self, steps: Iterator[T]) -> Iterator[T]:
        """Does the given steps, each with the number of threads that is taken or tried at the time."""
        if not self.may_choose:
            yield from steps
            return
        try:
            while True:
                start, threads = time.perf_counter(), self._next(time.perf_counter())
                torch.set_num_threads(threads)
                step = next(steps, None)
                if step is None:
                    return
                self._note(threads, start, time.perf_counter())
                yield step
        finally:
            torch.set_num_threads(self.most)

    def _next(self, now: float) -> int:
        if not self._to_try and not self._warm_up and now >= self._due:
            self._to_try = [1] * TRIED + [self.most] * TRIED
            self._spent = {1: 0.0, self.most: 0.0}
        return self._to_try[0] if self._to_try else self.taken

    def _note(self, threads: int, start: float, end: float) -> None:
        self._warm_up = max(0, self._warm_up - 1)
        if not self._to_try:
            return
        self._to_try.pop(0)
        self._spent[threads] += end - start
        if self._spent[self.most] > self._spent[1]:  # it is slower already, so the other steps need not be tried
            self._to_try.clear()
        if not self._to_try:
            self.taken = 1 if self._spent[1] < self._spent[self.most] else self.most
            self._due = end + PAUSE
