"""What the driver records of its trials: their states, and a line for each that ended."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.runs import Sweep, Trial
from experiments.sweep.worker import OUTCOME

FACTS = ("started", "first_step", "node", "pid")


class Recorder:
    """Follows Tune's events; the only writer of the trials' states.

    Args:
        sweep: Whose trials run.
        number: Number of trials to run.
    """

    def __init__(self, sweep: Sweep, number: int) -> None:
        self.sweep, self.number = sweep, number
        self.ended = 0

    def on_trial_start(self, trial: Any, **event: Any) -> None:
        recorded = self._own(trial)
        (recorded.path / "error.txt").unlink(missing_ok=True)  # of an earlier attempt
        unknown = dict.fromkeys(("reason", "first_step", "node", "pid", "ended"))
        recorded.record("running", attempts=recorded.state["attempts"] + 1, **unknown | {"started": time.time()})

    def on_trial_result(self, trial: Any, result: Mapping[str, Any], **event: Any) -> None:
        recorded = self._own(trial)
        if recorded.state["first_step"] is None:
            recorded.record("running", **{key: result[key] for key in FACTS if key in result})

    def on_trial_complete(self, trial: Any, **event: Any) -> None:
        result = trial.last_result or {}
        outcome = result.get(OUTCOME)
        if outcome == "finished":
            self._end(trial, "finished", None)
        elif outcome:
            self._end(trial, "failed", outcome)
        else:
            self._end(trial, "stopped", f"after epoch {result.get('epoch')}, by the scheduler")

    def on_trial_recover(self, trial: Any, **event: Any) -> None:
        recorded, reason = self._own(trial), self._reason(trial)
        recorded.record("failed", reason=reason, ended=time.time())
        print(f"   again  {recorded.id}  {reason}", flush=True)

    def on_trial_error(self, trial: Any, **event: Any) -> None:
        self._end(trial, "failed", self._reason(trial))

    def _own(self, trial: Any) -> Trial:
        return self.sweep.trials[int(json.loads(trial.config["trial"])["id"])]

    def _end(self, trial: Any, status: str, reason: str | None) -> None:
        recorded = self._own(trial)
        recorded.record(status, reason=reason, ended=time.time())
        self.ended += 1
        print(f"{self.ended:>4}/{self.number:<4} {recorded.id}  {_summary(recorded)}  {_values(recorded)}", flush=True)

    def _reason(self, trial: Any) -> str:
        """The error as the worker wrote it down, or how the worker died."""
        from ray.exceptions import OutOfMemoryError, RayActorError

        written = self._own(trial).path / "error.txt"
        if written.exists():
            return written.read_text(encoding="utf-8").splitlines()[0]
        error = _error(trial)
        if isinstance(error, OutOfMemoryError) or "running low on memory" in str(error):
            return "out of memory: the node ran low, and Ray killed the worker"
        if isinstance(error, RayActorError) or error is None:
            return "its worker was killed, or crashed"
        return str(error).strip().splitlines()[-1]


def _error(trial: Any) -> Exception | None:
    """What Ray knows of an attempt that failed; `get_pickled_error` finds it only after the last attempt."""
    from ray import cloudpickle

    with suppress(OSError, AttributeError):
        return cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return trial.get_pickled_error()


def _summary(trial: Trial) -> str:
    state = trial.state
    if state["status"] == "failed":
        return f"failed: {state['reason']}"
    seconds = f"{state['ended'] - state['started']:.1f} s"
    if state["status"] == "stopped":
        return f"stopped {state['reason']}, {seconds}"
    result = trial.result or {}
    luts = f"{result['luts']:,} LUT6" if "luts" in result else "cost unknown"
    return f"hard {result['test_accuracy_hard']:.2%}, gap {result['gap']:+.2%}, {luts}, {seconds}"


def _values(trial: Trial) -> str:
    return ", ".join(f"{label} = {value}" for label, value in trial.values.items())
