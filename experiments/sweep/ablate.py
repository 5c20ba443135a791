"""The job that runs a sweep.

A dimension is named by what it varies: a Gin binding, or a macro, which sets as many bindings as refer to it.

    ablate.dimensions = {
        'NODE': ['@nodes.dwn', '@nodes.hybrid'],                  # references begin with @; '@nodes.*' is all of a kind
        'hidden/layers.random.output_size': [1000, 2000],
        'optimizers.adam.lr': 'log_uniform(1e-3, 1e-1)',          # or uniform(low, high), integers(low, high)
        'encoder': {                                              # a name of its own: bundles of bindings
            'binary': {'network.encoder': '@encoders.binary()', 'encoders.binary.num_bits': 4},
            'plain': {'network.encoder': '@encoders.thermometer()'},
        },
        'train.seed': [0, 1, 2],                                  # results are averaged over it
    }
    ablate.conditions = [
        {'if': {'NODE': '@nodes.difflogic'}, 'set': {'N': 2}},    # sets dimensions, or any binding
        {'if': {'NODE': ['@nodes.dwn', '@nodes.hybrid']}, 'only': {'N': [4, 6]}},  # leaves out all others
    ]

Combinations that a condition makes equal are run once.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from difflut.config import ConfigurationError, bound, parsed_config, without
from difflut.registry import register_job
from experiments.cluster.courier import open_office
from experiments.cluster.joining import connected, slots
from experiments.data import Rows, kept_rows
from experiments.report.writing import write_report
from experiments.runs import Sweep, Trial
from experiments.shared.arguments import check_effect, check_folder, check_name, check_whole, configured
from experiments.shared.failures import JobError, in_a_line
from experiments.shared.files import locked
from experiments.sweep.checking import Checker
from experiments.sweep.guided import check_every_value, guided
from experiments.sweep.objectives import check_objectives
from experiments.sweep.plan import Plan, Point
from experiments.sweep.space import read_dimensions
from experiments.sweep.tuning import Settings, Tuning
from experiments.sweep.worker import Work
from experiments.training.resuming import changed, resuming_command, tell

SEARCHES = ("grid", "random", "optuna")
# Settings that may differ when a sweep is continued: how its trials are run, not what they train.
FREE = (
    "ablate.cpus_per_trial",
    "ablate.gpus_per_trial",
    "ablate.retries",
    "ablate.address",
    "ablate.scheduler",
    "ablate.grace_epochs",
    "ablate.reduction",
    "ablate.runs",
)


@register_job("ablate")
def ablate(
    dimensions: Mapping[str, Any],
    conditions: Sequence[Mapping[str, Any]] = (),
    search: str = "grid",
    max_trials: int | None = None,
    objectives: Mapping[str, str] = {"val_accuracy_hard": "max"},
    scheduler: str = "none",
    grace_epochs: int = 1,
    reduction: int = 3,
    cpus_per_trial: float = 1,
    gpus_per_trial: float = 0,
    retries: int = 1,
    seed: int = 0,
    name: str = "ablate",
    runs: str = "runs",
    resume: str | None = None,
    address: str | None = None,
) -> Sweep:
    """Trains what the rest of the Gin file describes once for each combination of the dimensions' values, on Ray Tune.

    Args:
        dimensions: Dictionary of what varies; the top of this module says how it is written.
        conditions: Rules that say which values go together, or do not.
        search: "grid", all combinations; "random", `max_trials` of them or of the ranges; or "optuna", `max_trials`
            that Optuna suggests from the results before, the seeds in turn.
        max_trials: The most trials; of a larger grid a random part is run, with all seeds of each combination.
        objectives: "max" or "min" by measure: `val_accuracy_hard`, `val_accuracy_relaxed`, `gap` (of the validation
            rows), `train_accuracy`, `train_loss`, `train_seconds`, `cpu_seconds`, `peak_bytes` (of memory), `luts` (all
            that the network costs in hardware), its parts `luts_encoder`, `luts_tables`, `luts_popcount`,
            `luts_argmax`, `luts_chains` (all of it, with votes counted on carry chains), `flip_flops`,
            `shift_registers`, `tables` (as trained), `lookups` (for a sample) and `bits` (of tables and wiring). The
            first is the scheduler's; all are Optuna's.
        scheduler: "asha" stops trials that are behind after `grace_epochs`, and `reduction` times as many, and so on:
            only the best one in `reduction` goes on (arXiv 1810.05934). "none" stops none.
        cpus_per_trial: Also the number of threads; as many trials as fit run at once.
        gpus_per_trial: Number of GPUs; a fraction puts several trials on one GPU. Of several, each trains a part of
            every batch.
        retries: Number of times that a failing trial is started again, where its last epoch ended.
        seed: Seed of random and guided search.
        resume: A sweep's folder, to run what is missing there, as it was configured. How trials are run may differ, and
            with Optuna how many; `config.gin` then says so.
        address: Address of a Ray cluster; `RAY_ADDRESS` is the default, and without it Ray is started on this machine.

    Returns:
        The sweep's folder, opened.

    Raises:
        ConfigurationError: The dimensions, or a trial's configuration, are wrong; nothing has been started then.
        JobError: Trials failed, or the report cannot be written; raised when all trials have ended.
    """
    start = time.time()
    check_name("ablate.name", name)
    if not resume:
        check_folder("ablate.runs", Path(runs))
    _check_search(search, max_trials, seed)
    settings = Settings(cpus_per_trial, gpus_per_trial, retries, scheduler, grace_epochs, reduction)
    gone_by = check_objectives(objectives, scheduler, search)
    plan = Plan(read_dimensions(dimensions), conditions)
    sweep = _opened(resume, plan, search) if resume else None
    group = bound(["tracking.group"]).get("tracking.group") or os.environ.get("WANDB_RUN_GROUP") or name
    checker = Checker(sweep.config if sweep else parsed_config(), gone_by)
    with kept_rows({}) as rows:
        points, sizes = _checked(plan, checker, sweep.trials if sweep else [], search, max_trials, seed)
        epochs = max(size["epochs"] for size in sizes)
        settings.check_grace(epochs)
        with connected(address):
            fit = slots(cpus_per_trial, gpus_per_trial)
            sweep = sweep or Sweep.create(
                runs, name, checker.text, objectives, plan.description, plan.seed_dimension, group
            )
            if not sweep.trials:
                sweep.add(point.trial(size) for point, size in zip(points, sizes, strict=False))
            with _alone_with(sweep):
                number = max_trials if search == "optuna" else len(sweep.trials)
                each = f"{cpus_per_trial:g} CPU and {gpus_per_trial:g} GPU each"
                print(f"{number} trials, {fit} at once with {each}: {sweep.path}", flush=True)
                work = _work(sweep, rows, settings)
                tuner = Tuning(sweep, work, settings, fit, epochs)
                tuner.run(_missing(sweep))
                if search == "optuna" and max_trials is not None:
                    tuner.search(guided(plan, checker, sweep, seed), max_trials - len(sweep.trials))
    _say_how_busy(sweep, start, fit)
    _report(sweep)
    _check_failed(sweep)
    return sweep


def _check_search(search: str, max_trials: int | None, seed: int) -> None:
    if search not in SEARCHES:
        raise ConfigurationError(f"ablate.search must be one of {', '.join(SEARCHES)}, got {search!r}")
    if max_trials is not None:
        check_whole("ablate.max_trials", max_trials)
    elif search != "grid":
        raise ConfigurationError(f"ablate.search = {search!r} needs ablate.max_trials")
    else:
        check_effect("ablate", {"seed": seed}, "on a whole grid, which draws nothing; ablate.max_trials draws a part")


def _opened(path: str, plan: Plan, search: str) -> Sweep:
    text, command = without(parsed_config(), "ablate.resume"), f"continue it with {resuming_command(path, 'ablate')}"
    with configured():
        sweep = Sweep.open(path)
        if _sorted(sweep.dimensions) != _sorted(plan.description):
            raise ValueError(f"{path} is a sweep over {sweep.dimensions}, not over {plan.description}; {command}")
        free = (*FREE, "ablate.max_trials", "ablate.seed") if search == "optuna" else FREE
        refusal = f"{path}: {command}, since with this configuration it cannot be"
        if changes := changed(sweep.config, text, free, refusal):
            sweep.write_config(text)
            tell(changes)
    return sweep


def _sorted(dimensions: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The dimensions with their values sorted, since the config.gin of an earlier sweep lost their order."""
    return {label: sorted(values) for label, values in dimensions.items()}


def _checked(
    plan: Plan, checker: Checker, trials: Sequence[Trial], search: str, max_trials: int | None, seed: int
) -> tuple[list[Point], list[dict[str, int]]]:
    """The points of all trials that are known at the start, and the sizes of those to come."""
    points = [Point(trial.values, trial.bindings) for trial in trials]
    if search == "optuna":
        return points, check_every_value(plan, checker)
    if not points and search == "random" and max_trials is not None:
        points = plan.random(max_trials, seed)
    points = points or plan.grid(max_trials, seed)
    return points, checker.sizes(points)


@contextmanager
def _alone_with(sweep: Sweep) -> Iterator[None]:
    """Keeps other processes from running the same sweep, and says how to go on after an interruption."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(sweep.path / ".lock", wait=False))
        except BlockingIOError as error:
            raise ConfigurationError(f"{sweep.path}: another process runs this sweep at present") from error
        try:
            yield
        except KeyboardInterrupt:
            print(f"\ninterrupted; continue with\n{resuming_command(sweep.path, 'ablate')}", file=sys.stderr)
            raise


def _work(sweep: Sweep, rows: Mapping[str, Rows], settings: Settings) -> Work:
    import ray

    data, folder = {name: ray.put(array) for name, array in rows.items()}, sweep.path.resolve()
    office = open_office(folder / "trials") if len(ray.nodes()) > 1 else None
    threads = max(int(settings.cpus_per_trial), 1)
    return Work(folder, sweep.group, sweep.config, threads, settings.gpus_per_trial, data, office)


def _missing(sweep: Sweep) -> list[Trial]:
    """The trials to run: those that have not ended, and those that failed."""
    for trial in sweep.trials:
        result = trial.path / "result.json"
        if trial.status == "running" and result.exists():  # the sweep was killed before it could record that
            trial.record("finished", ended=result.stat().st_mtime)
    return [trial for trial in sweep.trials if trial.status not in ("finished", "stopped")]


def _report(sweep: Sweep) -> None:
    try:
        write_report(sweep.path)
    except Exception as error:  # whatever it is, all trials are there
        again = f"mend that, and run the job report with report.sweep = {str(sweep.path)!r}"
        raise JobError(f"{sweep.path}: its report could not be written ({in_a_line(error)}); {again}") from error


def _check_failed(sweep: Sweep) -> None:
    failed = [trial for trial in sweep.trials if trial.status == "failed"]
    if failed:
        first = f"{failed[0].id}: {failed[0].state['reason']}"
        raise JobError(
            f"{sweep.path}: {len(failed)} of {len(sweep.trials)} trials failed, the first is {first}; the report has "
            f"the others; where that can be mended, run these again with {resuming_command(sweep.path, 'ablate')}"
        )


def _say_how_busy(sweep: Sweep, start: float, fit: int) -> None:
    """Prints how much of the time of `fit` slots since `start` trials took."""
    states = [trial.state for trial in sweep.trials]
    spent = sum(state["ended"] - state["started"] for state in states if (state.get("ended") or 0) > start)
    wall = time.time() - start
    print(f"{wall:.1f} s; trials took {spent:.1f} s, {spent / (wall * fit):.0%} of {fit} slots", flush=True)
