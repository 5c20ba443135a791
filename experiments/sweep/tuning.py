"""Running trials on Ray Tune."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from difflut.config import ConfigurationError
from experiments.runs import Sweep, Trial
from experiments.shared.arguments import check_effect, check_whole
from experiments.sweep.recorder import Recorder
from experiments.sweep.worker import Work, run_trial

SCHEDULERS = ("none", "asha")


@dataclass(frozen=True)
class Settings:
    """How trials are run; see `ablate`.

    Raises:
        ConfigurationError: A number is none that Ray can work with.
    """

    cpus_per_trial: float
    gpus_per_trial: float
    retries: int
    scheduler: str
    grace_epochs: int
    reduction: int

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ConfigurationError(f"ablate.scheduler must be one of {', '.join(SCHEDULERS)}, got {self.scheduler!r}")
        if not self.cpus_per_trial > 0 or not self.gpus_per_trial >= 0:
            raise ConfigurationError(
                "ablate.cpus_per_trial must be above 0 and ablate.gpus_per_trial at least 0; "
                f"got {self.cpus_per_trial!r} and {self.gpus_per_trial!r}"
            )
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ConfigurationError(f"ablate.gpus_per_trial = {self.gpus_per_trial} must be whole where it is above 1")
        check_whole("ablate.retries", self.retries, least=0)
        check_whole("ablate.grace_epochs", self.grace_epochs)
        check_whole("ablate.reduction", self.reduction, least=2)
        if self.scheduler == "none":
            stopping = {"grace_epochs": self.grace_epochs, "reduction": self.reduction}
            check_effect("ablate", stopping, "without a scheduler, such as ablate.scheduler = 'asha'")

    def check_grace(self, epochs: int) -> None:
        """Checks that a scheduler can stop trials of so many epochs at all.

        Raises:
            ConfigurationError: They end before.
        """
        if self.scheduler != "none" and self.grace_epochs > epochs:
            raise ConfigurationError(
                f"ablate.grace_epochs = {self.grace_epochs} is more than the {epochs} epochs of the longest trial; "
                "lower it, or raise train.epochs"
            )


def parameters_of(trial: Trial) -> dict[str, str]:
    """A trial as a parameter of Tune. It is text, since Tune would search anything else for spaces."""
    known = {"id": trial.id, "values": trial.values, "bindings": trial.bindings, "epochs": trial.epochs}
    return {"trial": json.dumps(known)}


class Tuning:
    """Runs trials on Ray Tune, as many at once as fit.

    Args:
        sweep: Whose trials they are.
        work: Work that they have in common.
        slots: Number of trials that fit at once.
        epochs: The most that a trial has.
    """

    def __init__(self, sweep: Sweep, work: Work, settings: Settings, slots: int, epochs: int) -> None:
        self.sweep, self.work, self.settings, self.slots, self.epochs = sweep, work, settings, slots, epochs

    def run(self, trials: Sequence[Trial]) -> None:
        """Runs given trials, and returns when all have ended."""
        from ray import tune

        if trials:
            space = {"trial": tune.grid_search([parameters_of(trial)["trial"] for trial in trials])}
            self._fit(len(trials), param_space=space)

    def search(self, searcher: Any, number: int) -> None:
        """Runs so many trials that a Tune searcher suggests one after the other."""
        if number > 0:
            self._fit(number, search_alg=searcher, num_samples=number, max_concurrent_trials=self.slots)

    def _fit(self, number: int, param_space: dict[str, Any] | None = None, **search: Any) -> None:
        from ray import tune

        class Callback(Recorder, tune.Callback):
            """The recorder as Tune wants it."""

        settings = self.settings
        resources = {"cpu": settings.cpus_per_trial, "gpu": settings.gpus_per_trial}
        with tempfile.TemporaryDirectory(prefix="difflut-tune-") as folder:
            tune.Tuner(
                tune.with_resources(tune.with_parameters(run_trial, work=self.work), resources),
                param_space=param_space,
                tune_config=tune.TuneConfig(
                    scheduler=make_scheduler(self.sweep, settings, self.epochs),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                    **search,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=folder,
                    failure_config=tune.FailureConfig(max_failures=settings.retries),
                    callbacks=[Callback(self.sweep, number)],
                    verbose=0,
                ),
            ).fit()


def make_scheduler(sweep: Sweep, settings: Settings, epochs: int) -> Any:
    """Tune's scheduler, which knows how the sweep's earlier trials went; None where nothing is stopped."""
    if settings.scheduler == "none":
        return None
    from ray.tune.schedulers import ASHAScheduler

    class Asha(ASHAScheduler):
        """Never stops a trial after its last epoch, so that it is tested: stopping would save nothing then."""

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision = super().on_trial_result(controller, trial, result)
            return self.CONTINUE if result.get("epoch") == result.get("epochs") else decision

    asha = Asha(
        time_attr="epoch",
        metric=sweep.metric,
        mode=sweep.objectives[sweep.metric],
        max_t=epochs,
        grace_period=settings.grace_epochs,
        reduction_factor=settings.reduction,
    )
    for trial in sweep.trials:
        if trial.status in ("finished", "stopped"):
            _tell(asha, trial)
    return asha


def _tell(scheduler: Any, trial: Trial) -> None:
    """Lets a scheduler know of a trial that ended before the sweep was continued."""
    past = SimpleNamespace(trial_id=f"past-{trial.id}")
    scheduler.on_trial_add(None, past)
    for row in trial.metrics():
        scheduler.on_trial_result(None, past, row)
