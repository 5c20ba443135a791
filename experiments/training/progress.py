"""Progress of an epoch: a bar where someone looks at a terminal, one line an epoch everywhere."""

import time
from collections.abc import Callable, Mapping
from threading import RLock
from types import TracebackType
from typing import Any, Self

SECONDS_BETWEEN_READINGS = 0.5


class ProgressBar:
    """A bar of one epoch's steps with loss, accuracy and samples per second.

    The metrics are read from the device twice a second, not at each step, because a reading waits for the device.
    """

    def __init__(self, title: str, steps: int, is_shown: bool) -> None:
        from tqdm import tqdm

        tqdm.set_lock(RLock())  # its own is a semaphore of the system too, which a killed process leaves behind
        self.title = title
        self._bar = tqdm(total=steps, desc=title, leave=False, disable=None if is_shown else True, unit="step")
        self._last_reading = time.perf_counter()

    def update(self, step: int, metrics: Callable[[], Mapping[str, float]]) -> None:
        """Shows that a step is done; made to be called by `Trainer.run_epoch`."""
        now = time.perf_counter()
        if not self._bar.disable and now - self._last_reading > SECONDS_BETWEEN_READINGS:
            self._last_reading = now
            reading = metrics()
            self._bar.set_postfix_str(
                f"loss {reading['train_loss']:.4f}, accuracy {reading['train_accuracy']:.1%}, "
                f"{reading['samples_per_second']:,.0f} samples/s",
                refresh=False,
            )
        self._bar.update(step - self._bar.n)

    def summarize(self, row: Mapping[str, Any]) -> None:
        """Prints the epoch's line."""
        validation = ""
        if "val_accuracy_hard" in row:
            validation = (
                f"validation: hard {row['val_accuracy_hard']:.2%}, relaxed {row['val_accuracy_relaxed']:.2%}, "
                f"gap {row['gap']:+.2%}  "
            )
        self._bar.write(
            f"{self.title}  loss {row['train_loss']:.4f}  train {row['train_accuracy']:.2%}  {validation}"
            f"{row['samples_per_second']:,.0f} samples/s"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
