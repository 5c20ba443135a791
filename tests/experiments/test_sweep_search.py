import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import experiments  # noqa: F401
from difflut import config
from difflut.config import ConfigurationError
from experiments.cluster.joining import connected
from experiments.data import kept_rows
from experiments.runs import Sweep
from experiments.sweep import ablate
from experiments.sweep.checking import Checker
from experiments.sweep.guided import check_every_value, guided
from experiments.sweep.plan import Plan
from experiments.sweep.recorder import Recorder
from experiments.sweep.space import read_dimensions
from experiments.sweep.tuning import Settings, make_scheduler, parameters_of

CONFIGS = Path(__file__).parents[2] / "gin_configs/ablations"
BASE = """
run.job = @ablate
train.network = @network
train.optimizer = @optimizers.adam
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@a/layers.random]
layers.random.node_type = @nodes.dwn
nodes.dwn.input_dim = 4
"""
DIMENSIONS = {
    "optimizers.adam.lr": "log_uniform(1e-5, 1e-1)",
    "a/layers.random.output_size": [20, 30],
    "nodes.dwn.input_dim": "integers(2, 4)",
    "train.seed": [0, 1],
}


@pytest.fixture
def plan():
    return Plan(read_dimensions(DIMENSIONS), ())


@pytest.fixture
def checker():
    config.parse([], text=BASE)
    with kept_rows({}):
        yield Checker(config.parsed_config())


@pytest.fixture
def sweep(tmp_path, plan):
    objectives = {"val_accuracy_hard": "max", "luts": "min"}
    return Sweep.create(str(tmp_path), "sweep", BASE, objectives, plan.description, plan.seed_dimension)


def ended(sweep, accuracies, status="finished", result=(("luts", 18),), **values):
    """Adds a trial that ended, with the accuracy of each epoch."""
    values = {"optimizers.adam.lr": "0.01", "a/layers.random.output_size": "20", "nodes.dwn.input_dim": "3"} | values
    values["train.seed"] = "0"
    (trial,) = sweep.add([{"values": values, "bindings": values, "tables": 20, "parameters": 160, "epochs": 9}])
    trial.record(status, attempts=1)
    for epoch, accuracy in enumerate(accuracies, start=1):
        trial.run.append_metrics({"epoch": epoch, "val_accuracy_hard": accuracy})
    if status == "finished":
        trial.run.write_result({"best_epoch": len(accuracies), **dict(result)})
    return trial


@pytest.mark.needs("optuna")
def test_each_value_is_checked_before_a_guided_search(plan, checker, capsys):
    check_every_value(plan, checker)
    assert len(capsys.readouterr().out.splitlines()) == 4  # both ends of two ranges, and two sizes, less what is equal
    wrong = Plan(read_dimensions({"a/layers.random.output_size": [20], "nodes.dwn.input_dim": "integers(2, 9)"}), ())
    with pytest.raises(ConfigurationError, match=r"a node may have .* inputs, got input_dim=9"):
        check_every_value(wrong, checker)


@pytest.mark.needs("optuna")
def test_suggestions_become_trials_of_the_sweep_with_the_seeds_in_turn(plan, checker, sweep):
    searcher = guided(plan, checker, sweep, seed=0)
    suggested = [json.loads(searcher.suggest(str(number))["trial"]) for number in range(4)]
    assert [trial["id"] for trial in suggested] == ["0000", "0001", "0002", "0003"]
    assert [trial.values["train.seed"] for trial in sweep.trials] == ["0", "1", "0", "1"]
    assert all(trial.tables == int(trial.values["a/layers.random.output_size"]) for trial in sweep.trials)
    assert [trial["bindings"] for trial in suggested] == [trial.bindings for trial in sweep.trials]
    assert Sweep.open(sweep.path).trials == sweep.trials


@pytest.mark.needs("optuna")
def test_a_continued_search_knows_what_was_found_before(plan, checker, sweep):
    for number in range(40):
        rate = 10 ** (-5 + number / 10)
        ended(sweep, [0.9 - abs(number - 20) / 25], **{"optimizers.adam.lr": f"{rate:.4g}"})
    searcher = guided(plan, checker, sweep, seed=0)
    for number in range(10):
        searcher.suggest(str(number))
    rates = sorted(float(trial.values["optimizers.adam.lr"]) for trial in sweep.trials[40:])
    assert rates[2] > 3e-4 and rates[-3] < 3e-3


@pytest.mark.needs("optuna")
def test_a_trial_that_lacks_an_objective_teaches_a_search_nothing(plan, checker, sweep):
    import optuna

    ended(sweep, [0.9])
    ended(sweep, [0.9], result=())
    searcher = guided(plan, checker, sweep, seed=0)
    for number, found in enumerate(({"luts": 20}, {})):
        searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), result={"val_accuracy_hard": 0.8, **found})
    study, states = optuna.load_study(study_name="optuna", storage=searcher._storage), optuna.trial.TrialState
    assert [trial.state for trial in study.trials] == [states.COMPLETE, states.COMPLETE, states.FAIL]
    assert [trial.values for trial in study.trials] == [[0.9, 18], [0.8, 20], None]


@pytest.mark.needs("optuna")
def test_a_guided_search_refuses_what_it_cannot_follow(checker):
    plan = Plan(read_dimensions({"N": [1, 2], "M": [1, 2]}), [{"if": {"N": 1}, "only": {"M": 1}}])
    with pytest.raises(ConfigurationError, match="no condition with 'only'; use 'set'"):
        check_every_value(plan, checker)


@pytest.mark.parametrize(("accuracy", "decision"), [(0.5, "STOP"), (0.95, "CONTINUE")])
def test_a_continued_sweep_stops_trials_by_those_that_ended_before(sweep, accuracy, decision):
    for final in (0.7, 0.8, 0.9):
        ended(sweep, [0.1, final], status="stopped")
    asha = make_scheduler(sweep, Settings(1, 0, 1, "asha", grace_epochs=2, reduction=3), epochs=9)
    trial = SimpleNamespace(trial_id="new")
    asha.on_trial_add(None, trial)
    assert asha.on_trial_result(None, trial, {"epoch": 1, "val_accuracy_hard": accuracy}) == "CONTINUE"
    assert asha.on_trial_result(None, trial, {"epoch": 2, "val_accuracy_hard": accuracy}) == decision


@pytest.mark.parametrize(("epochs", "decision"), [(9, "CONTINUE"), (3, "CONTINUE"), (27, "STOP")])
def test_a_trial_is_not_stopped_after_its_last_epoch(sweep, epochs, decision):
    asha = make_scheduler(sweep, Settings(1, 0, 1, "asha", grace_epochs=3, reduction=3), epochs=27)
    last = min(epochs, 9)
    for accuracy in (0.9, 0.8, 0.7):
        trial = SimpleNamespace(trial_id=str(accuracy))
        asha.on_trial_add(None, trial)
        row = {"epoch": last, "epochs": epochs, "val_accuracy_hard": accuracy}
        found = asha.on_trial_result(None, trial, row)
    assert found == decision


def test_trials_know_their_epochs(plan, checker, sweep):
    [point, *_] = plan.random(1, seed=0)
    [trial] = sweep.add([point.trial(checker.size(point))])
    assert json.loads(parameters_of(trial)["trial"])["epochs"] == trial.epochs == checker.size(point)["epochs"] > 0


def test_the_reason_of_an_earlier_attempt_is_forgotten(sweep, capsys):
    (own,) = sweep.add([{"values": {}, "bindings": {}, "tables": 20, "parameters": 160, "epochs": 9}])
    own.record("failed", attempts=1)
    (own.path / "error.txt").write_text("the first reason\n")
    trial = SimpleNamespace(config=parameters_of(own), get_pickled_error=lambda: OSError("the second reason"))
    recorder = Recorder(sweep, 1)
    recorder.on_trial_start(trial)
    recorder.on_trial_error(trial)
    assert own.state["reason"] == "the second reason" and "the second reason" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("ablate.search = 'bayes'", "ablate.search must be one of grid, random, optuna, got 'bayes'"),
        ("ablate.scheduler = 'hyperband'", "ablate.scheduler must be one of none, asha"),
        ("ablate.search = 'random'", "'random' needs ablate.max_trials"),
        ("ablate.max_trials = 0", "ablate.max_trials must be a whole number, 1 or more; got 0"),
        ("ablate.cpus_per_trial = 0", "ablate.cpus_per_trial must be above 0"),
        ("ablate.retries = -1", "ablate.retries must be a whole number, 0 or more; got -1"),
        ("ablate.reduction = 1", "ablate.reduction must be a whole number, 2 or more; got 1"),
        ("ablate.reduction = 4", "ablate.reduction = 4 has no effect without a scheduler, .*; leave it at 3"),
        ("ablate.seed = 4", "ablate.seed = 4 has no effect on a whole grid"),
        ("ablate.name = 'two words'", "ablate.name = 'two words' must be 1 to 100 letters"),
        (
            "ablate.scheduler = 'asha'\nablate.grace_epochs = 30\nablate.search = 'random'\nablate.max_trials = 1",
            "ablate.grace_epochs = 30 is more than the 20 epochs of the longest trial",
        ),
        ("ablate.conditions = [{'if': 3, 'set': {}}]", "each with a dictionary; got"),
        ("ablate.objectives = {'val_accuracy_hard': 'maximum'}", "must say 'max' or 'min'"),
        ("ablate.objectives = {'val_acuracy_hard': 'max'}", "one of val_accuracy_hard, .*; got 'val_acuracy_hard'"),
        ("ablate.objectives = {'luts': 'min', 'test_accuracy_hard': 'max'}", "one of .*; got 'test_accuracy_hard'"),
        (
            "ablate.scheduler = 'asha'\nablate.objectives = {'luts': 'min', 'val_accuracy_hard': 'max'}",
            "needs a first objective that each epoch has, one of val_accuracy_hard, .*; got 'luts'",
        ),
    ],
)
def test_unknown_options_are_named(parameter, message):
    config.parse([], [f"ablate.dimensions = {DIMENSIONS!r}", parameter], text=BASE)
    with pytest.raises(ConfigurationError, match=message):
        config.run()


def test_an_address_without_a_cluster_is_named():
    with pytest.raises(ConfigurationError, match="no Ray cluster answers at"), connected("127.0.0.1:1"):
        pass


def test_a_ray_that_cannot_be_joined_is_told_in_a_line(monkeypatch):
    import ray

    def failing(*arguments, **options):
        raise ConnectionError("Could not find any running Ray instance.\nand more")

    monkeypatch.setattr(ray, "init", failing)
    said = "Ray at 'auto' cannot be used: ConnectionError: Could not find any running Ray instance; start a cluster"
    with pytest.raises(ConfigurationError, match=said), connected("auto"):
        pass


@pytest.mark.parametrize("pickled", [True, False])
def test_the_reason_of_a_first_failure_is_its_own(sweep, tmp_path, pickled):
    import ray

    own, file = ended(sweep, [], "running"), tmp_path / "error.pkl"
    error = ray.exceptions.OutOfMemoryError("the node is running low on memory")
    if pickled:
        file.write_bytes(ray.cloudpickle.dumps(error))
    trial = SimpleNamespace(
        config={"trial": json.dumps({"id": own.id})}, pickled_error_file=str(file), get_pickled_error=lambda: None
    )
    Recorder(sweep, 1).on_trial_recover(trial)
    assert own.state["reason"].startswith("out of memory" if pickled else "its worker was killed")
    (own.path / "error.txt").write_text("ValueError: wrong\n\nTraceback")
    Recorder(sweep, 1).on_trial_recover(trial)
    assert own.state["reason"] == "ValueError: wrong"


def test_another_sweep_cannot_be_continued(sweep):
    config.parse([], ["ablate.dimensions = {'N': [1]}", f"ablate.resume = {str(sweep.path)!r}"], text=BASE)
    with pytest.raises(ConfigurationError, match=r"is a sweep over .*, not over \{'N': \['1'\]\}; continue it with"):
        config.run()


def begun(tmp_path, text):
    """A sweep without trials, as `ablate` makes it of a Gin file."""
    config.parse([], text=text)
    made = Plan(read_dimensions(config.bound(["ablate.dimensions"])["ablate.dimensions"]), ())
    measures = {"val_accuracy_hard": "max"}
    return Sweep.create(str(tmp_path), "order", config.parsed_config(), measures, made.description, None), made


def continued(sweep, made, *parameters, search="grid"):
    config.parse([str(sweep.path / "config.gin")], [*parameters, f"ablate.resume = {str(sweep.path)!r}"])
    return ablate._opened(str(sweep.path), made, search)


ORDER = BASE + "ablate.dimensions = {'wiring': {'z': {'N': 2}, 'a': {'N': 3}}, 'train.seed': [1, 0]}\n"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.gin")), ids=lambda path: path.stem)
def test_a_sweep_is_continued_with_its_own_configuration(tmp_path, path):
    sweep, made = begun(tmp_path, path.read_text())
    before = sweep.config
    assert continued(sweep, made).path == sweep.path and sweep.config == before
    config.parse([str(sweep.path / "config.gin")])
    same = Plan(read_dimensions(config.bound(["ablate.dimensions"])["ablate.dimensions"]), ()).description
    assert json.dumps(same) == json.dumps(made.description)


def test_a_sweep_whose_configuration_lost_the_order_of_its_values_is_continued(tmp_path):
    sweep, made = begun(tmp_path, ORDER)
    assert made.description["wiring"] == ["z", "a"]
    made.dimensions["wiring"].choices.reverse()
    assert continued(sweep, made).path == sweep.path


def test_how_trials_are_run_may_change_and_is_written(tmp_path, capsys):
    sweep, made = begun(tmp_path, ORDER)
    continued(sweep, made, "ablate.retries = 5")
    assert capsys.readouterr().out == "continued with ablate.retries = 5 instead of 1\n"
    assert "ablate.retries = 5" in sweep.config and "ablate.resume" not in sweep.config
    continued(sweep, made, "ablate.max_trials = 9", search="optuna")
    assert "ablate.max_trials = 9" in sweep.config


@pytest.mark.parametrize(
    "parameter,difference",
    [
        ("train.epochs = 7", "train.epochs is 7, the run has 20"),
        ("TAU = 4.0", "network.tau is 4.0, the run has 3.0"),
        ("optimizers.adam.lr = 0.5", "optimizers.adam.lr is 0.5, the run has 0.01"),
        ("ablate.max_trials = 9", "ablate.max_trials is 9, the run has None"),
    ],
)
def test_what_trials_train_may_not_change_when_a_sweep_goes_on(tmp_path, parameter, difference):
    sweep, made = begun(tmp_path, ORDER + "TAU = 3.0\nnetwork.tau = %TAU\n")
    before = sweep.config
    with pytest.raises(ConfigurationError) as error:
        continued(sweep, made, parameter)
    assert difference in str(error.value) and f"--gin_file {sweep.path}/config.gin" in str(error.value)
    assert sweep.config == before
