import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import experiments
from difflut import config
from difflut.config.statements import statements
from difflut.models import build_model, read_checkpoint, save_checkpoint
from experiments.runs import RunFolder
from experiments.sweep.checking import Checker
from experiments.sweep.plan import Point
from experiments.training.resuming import SETTINGS, resuming_command

FILE = """
run.job = @train
train.network = @network
train.optimizer = @optimizers.adam
train.schedule = @schedules.cosine
train.epochs = 2
train.batch_size = 256
optimizers.adam.lr = 0.02
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@layers.random]
layers.random.node_type = @nodes.dwn
layers.random.output_size = 60
nodes.dwn.input_dim = 4
tracking.mode = "disabled"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("runs")
    train(f'train.runs = "{folder}"')
    (made,) = folder.iterdir()
    return made


@pytest.fixture
def copied(finished, tmp_path):
    return RunFolder(shutil.copytree(finished, tmp_path / "run"))


def train(*parameters):
    config.parse([], parameters, FILE)
    return config.run()


def again(folder, *parameters):
    config.parse([str(folder.path / "config.gin")], [*parameters, f'train.resume = "{folder.path}"'])
    return config.run()


def rates(folder):
    return [row["learning_rate"] for row in folder.metrics()]


def test_a_longer_run_goes_on_with_the_schedule_of_the_longer_run(copied, tmp_path, capsys):
    train("train.epochs = 4", f'train.runs = "{tmp_path}/whole"')
    (whole,) = map(RunFolder, (tmp_path / "whole").iterdir())
    result = again(copied, "train.epochs = 4", "train.checkpoint_seconds = 7.0")
    assert rates(copied)[2:] == rates(whole)[2:] == pytest.approx([0.01, 0.02 * 0.5 * (1 - 0.5**0.5)])
    assert result["epochs"] == 4 and [row["epoch"] for row in copied.metrics()] == [1, 2, 3, 4]
    printed = capsys.readouterr().out
    assert "continued with train.epochs = 4 instead of 2\n" in printed
    assert "continued with train.checkpoint_seconds = 7.0 instead of 0.0\n" in printed
    written = statements(copied.config)
    assert (written["train.epochs"], written["train.checkpoint_seconds"]) == (4, 7.0)
    assert "train.resume" not in written


@pytest.mark.parametrize(
    "parameters,difference",
    [
        (["optimizers.adam.lr = 0.01"], "optimizers.adam.lr is 0.01, the run has 0.02"),
        (["train.optimizer = @optimizers.sgd"], "train.optimizer is @optimizers.sgd, the run has @optimizers.adam"),
        (["train.schedule = None"], "train.schedule is None, the run has @schedules.cosine"),
        (["schedules.cosine.final_lr = 0.001"], "schedules.cosine.final_lr is 0.001, the run has 0.0"),
        (["train.batch_size = 128"], "train.batch_size is 128, the run has 256"),
        (["train.seed = 3"], "seed is 3, the run has 0"),
        (["dataset.validation_fraction = 0.2"], "dataset.validation_fraction is 0.2, the run has 0.1"),
        (
            ["losses.cross_entropy.label_smoothing = 0.1", "train.loss = @losses.cross_entropy"],
            "smoothing is 0.1, the run",
        ),
        (["train.augmentation = @augmentations.shift"], "train.augmentation is @augmentations.shift, the run has None"),
        (["network.tau = 3.0"], "network.tau is 3.0, the run has "),
        (["train.epochs = 1"], "has 2 epochs already, more than train.epochs = 1"),
    ],
)
def test_what_would_train_something_else_is_refused_and_changes_nothing(copied, parameters, difference):
    before = {path.name: path.read_bytes() for path in copied.path.iterdir() if path.is_file()}
    with pytest.raises(config.ConfigurationError) as error:
        again(copied, *parameters)
    assert difference in str(error.value) and str(copied.path) in str(error.value)
    assert {path.name: path.read_bytes() for path in copied.path.iterdir() if path.is_file()} == before


def test_epochs_that_no_checkpoint_has_count_too(copied):
    again(copied, "train.epochs = 3", "train.checkpoint_seconds = None")
    with pytest.raises(config.ConfigurationError, match=r"has 3 epochs already, more than train\.epochs = 2"):
        again(copied, "train.epochs = 2")


def test_a_run_of_an_earlier_version_is_refused_before_it_trains(copied):
    rows = [{key: value for key, value in row.items() if key != "cpu_seconds"} for row in copied.metrics()]
    (copied.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(config.ConfigurationError, match="its epochs do not say what they took; train anew"):
        again(copied, "train.epochs = 3")


def test_another_network_than_that_of_the_checkpoint_is_refused_even_where_the_configuration_is_the_same(copied):
    checkpoint = read_checkpoint(copied.last)
    model = build_model({**checkpoint["config"], "groupsum": {"tau": 7.0, "k": 10, "use_randperm": False}})
    save_checkpoint(model, copied.last, training=checkpoint["training"])
    with pytest.raises(config.ConfigurationError, match=r"network\.groupsum\.tau is .*, the run has 7\.0"):
        again(copied)


def test_other_rows_under_the_same_name_are_refused(copied, monkeypatch):
    load = experiments.training.recipe.dataset

    def other(**arguments):
        data = load(**arguments)
        data.y_train[5] = (data.y_train[5] + 1) % 10
        return data

    monkeypatch.setattr("experiments.training.recipe.dataset", other)
    with pytest.raises(config.ConfigurationError, match="the state is of training on other samples"):
        again(copied)


def test_a_run_that_goes_on_has_no_result_until_it_ends(copied, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("difflut.training.Trainer.run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        again(copied, "train.epochs = 3")
    assert not (copied.path / "result.json").exists()


def test_a_finished_run_that_is_continued_as_it_is_comes_to_the_same(copied):
    before = (copied.path / "result.json").read_text(), copied.config
    result = again(copied)
    assert result == json.loads(before[0]) and copied.config == before[1]


@pytest.mark.parametrize("name,value", [("train.resume", "'runs/old'"), ("train.dry_run", "True")])
def test_what_would_have_all_trials_share_a_run_is_refused(name, value):
    for text, bindings in ((f"{name} = {value}", {}), ("", {name: value}), (f"M = {value}\n{name} = %M", {})):
        with pytest.raises(config.ConfigurationError, match=rf"{name} = .*: each trial trains a run of its own"):
            Checker(FILE + text).size(Point(bindings, bindings))


@pytest.mark.parametrize(
    ("program", "called"),
    [
        ("run.py", [sys.executable, "run.py"]),
        ("/my folder/run.py", [sys.executable, "/my folder/run.py"]),
        ("/some/bin/difflut", ["/some/bin/difflut"]),
        ("/packages/difflut/command/__main__.py", [sys.executable, "-m", "difflut.command"]),
        ("notebook.py", [sys.executable, "-m", "difflut.command"]),
    ],
)
def test_a_command_to_go_on_is_called_as_the_present_one_with_its_settings(program, called, monkeypatch):
    for name in SETTINGS:
        monkeypatch.setenv(name, f"my {name}")
    monkeypatch.setattr(sys, "argv", [program, "--gin_file", "quickstart"])
    monkeypatch.setenv("PATH", "/nowhere")
    expected = [f"{name}=my {name}" for name in SETTINGS] + called
    expected += ["--gin_file", "my runs/1/config.gin", "--gin_param", 'train.resume = "my runs/1"']
    assert shlex.split(resuming_command(Path("my runs/1"), "train")) == expected


def test_a_command_on_the_path_is_called_by_its_name(tmp_path, monkeypatch):
    for name in ("python", "difflut"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for program, called in (("run.py", "python run.py "), (str(tmp_path / "difflut"), "difflut ")):
        monkeypatch.setattr(sys, "argv", [program])
        assert resuming_command("runs/1", "ablate").startswith(called + "--gin_file runs/1/config.gin ")
