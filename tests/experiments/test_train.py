import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import experiments  # noqa: F401
from difflut import config
from difflut.models import load_checkpoint, read_checkpoint
from difflut.training import evaluate
from difflut.training.losses import cross_entropy
from experiments.data import load_dataset
from experiments.runs import RunFolder, TrialRun
from experiments.shared.costs import USED
from experiments.training.resuming import SETTINGS

ROOT = Path(__file__).parents[2]
FILE = """
run.job = @train
train.network = @network
train.optimizer = @optimizers.adam
train.schedule = @schedules.cosine
train.epochs = 4
train.batch_size = 64
network.encoder = @encoders.distributive_thermometer()
encoders.distributive_thermometer.num_bits = 2
network.layers = [@hidden/layers.learnable, @output/layers.random]
layers.learnable.node_type = @nodes.light
layers.learnable.layer_config = @layers.LayerConfig()
layers.LayerConfig.flip_probability = 0.05
nodes.light.noise = True
layers.random.node_type = @nodes.dwn
nodes.light.input_dim = 4
nodes.dwn.input_dim = 4
hidden/layers.learnable.output_size = 100
output/layers.random.output_size = 60
network.tau = 2.0
tracking.mode = "disabled"
"""


TAUGHT = """
train.loss = @losses.distillation
train.teacher = @teachers.trained
teachers.trained.network = @teachers.dense
"""


@pytest.fixture
def gin_file(tmp_path):
    path = tmp_path / "experiment.gin"
    path.write_text(FILE + f'train.runs = "{tmp_path}/runs"\n')
    return path


def train(gin_file, *parameters):
    config.parse([str(gin_file)], list(parameters))
    return config.run()


def only_run(tmp_path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def metrics(folder: Path, keys=("epoch", "train_loss", "train_accuracy", "val_accuracy_hard", "gap")) -> list[tuple]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[key] for key in keys) for row in rows]


def test_a_run_leaves_all_that_its_folder_promises(gin_file, tmp_path, capsys):
    result = train(gin_file)
    folder = only_run(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "config.gin", "metrics.jsonl", "last.pt", "best.pt", "result.json", "plots",
    }  # fmt: skip
    assert json.loads((folder / "result.json").read_text()) == result
    assert len(metrics(folder)) == 4 and result["tables"] == 160 and result["seed"] == 0
    assert {path.name for path in (folder / "plots").iterdir()} == {"training.png", "tables.png", "summary.png"}
    printed = capsys.readouterr().out
    assert "epoch 4/4" in printed and f"hard {result['test_accuracy_hard']:.2%}" in printed and "seed 0" in printed


def test_a_dry_run_tells_what_would_be_trained_and_leaves_nothing(gin_file, tmp_path, capsys):
    refined = ("train.refinement = @refinements.coordinate_descent", "train.refined_epochs = 1")
    before = train(gin_file, "train.dry_run = True", *refined)
    told = capsys.readouterr().out
    assert not before["network"].encoder.fitted and not (tmp_path / "runs").exists()
    assert "(encoder): DistributiveThermometer(num_bits=2" in told and told.count("(node): ") == 2
    assert "digits: 1,293 training, 144 validation, 360 test rows of 8 x 8 features, 10 classes" in told
    assert f"160 tables, 160 look-ups for a sample, {before['parameters']:,} parameters" in told
    assert "3 epochs of 21 steps of 64 rows, then 1 of refinement" in told
    parts = [
        int(part.replace(",", "")) for part in re.search(r"([\d,]+) LUT6 as trained \(tables ([\d,]+)", told).groups()
    ]
    assert parts[1] == 160 < parts[0]
    config.parse([str(gin_file)], ["train.dry_run = True"])
    config.run(trial=TrialRun(None))
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_read(gin_file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(config.ConfigurationError, match=r"train\.runs = '.*/file/runs' cannot be a folder, as "):
        train(gin_file, f'train.runs = "{tmp_path}/file/runs"', 'dataset.name = "no such data"')


def test_a_missing_file_is_told_by_its_name(tmp_path):
    config.parse([], text=f'run.job = @evaluate\nevaluate.checkpoint = "{tmp_path}/lost.pt"')
    with pytest.raises(config.ConfigurationError, match=rf"^{tmp_path}/lost\.pt: No such file or directory$"):
        config.run()


def test_the_result_is_that_of_the_checkpoint_best_on_validation_data(gin_file, tmp_path):
    result = train(gin_file)
    folder = only_run(tmp_path)
    accuracies = [row[3] for row in metrics(folder)]
    assert result["best_epoch"] == max(epoch for epoch, found in enumerate(accuracies, 1) if found == max(accuracies))
    data = load_dataset("digits", seed=0)
    model = load_checkpoint(folder / "best.pt")
    assert evaluate(model, data.x_test, data.y_test)["accuracy_hard"] == result["test_accuracy_hard"]
    assert evaluate(model, data.x_val, data.y_val)["accuracy_hard"] == max(accuracies)


@pytest.mark.parametrize(("rows", "scores", "best"), [(144, [0.5, 0.9, 0.9, 0.8], 3), (72, [0.5, 0.9, 0.9, 0.8], 4)])
def test_of_equal_epochs_the_later_and_of_few_validation_rows_the_last(gin_file, monkeypatch, rows, scores, best):
    rest = iter(scores)
    found = {"accuracy_relaxed": 0.7, "gap": 0.0}
    monkeypatch.setattr(
        "experiments.training.fitting.evaluate", lambda *_, **ranks: {**found, "accuracy_hard": next(rest)}
    )
    result = train(gin_file, f"dataset.validation_fraction = {rows / 1437}")
    assert result["best_epoch"] == best


def test_what_fails_beside_the_result_costs_no_result(gin_file, tmp_path, monkeypatch, capsys):
    from matplotlib.figure import Figure

    def failing(*arguments, **options):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(Figure, "savefig", failing)
    monkeypatch.setattr("experiments.shared.costs.Circuit.from_model", failing)
    result = train(gin_file, "train.epochs = 1")
    assert json.loads((only_run(tmp_path) / "result.json").read_text()) == result
    assert "test_accuracy_hard" in result and "luts" not in result
    printed = capsys.readouterr().out
    for part in ("plots/training.png", "plots/tables.png", "plots/summary.png", "cost in hardware"):
        assert f"{part}: left out (RuntimeError: no fonts)\n" in printed


def test_the_result_is_there_when_a_picture_kills_the_process(gin_file, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.training.plots.training_curves", killed)
    with pytest.raises(KeyboardInterrupt):
        train(gin_file, "train.epochs = 1")
    assert (only_run(tmp_path) / "result.json").exists()


def test_a_run_can_be_repeated_from_its_folder_alone(gin_file, tmp_path):
    first = train(gin_file)
    folder = only_run(tmp_path)
    assert "tracking.mode = 'disabled'" in (folder / "config.gin").read_text()
    second = train(folder / "config.gin", f'train.runs = "{tmp_path}/again"')
    unequal = dict.fromkeys(USED, 0)
    assert min(first[key] for key in USED) > 0 and second | unequal == first | unequal
    (again,) = (tmp_path / "again").iterdir()
    assert metrics(again) == metrics(folder)


def test_a_stopped_run_continues_to_the_same_losses(gin_file, tmp_path):
    train(gin_file, f'train.runs = "{tmp_path}/whole"')
    (whole,) = (tmp_path / "whole").iterdir()

    config.parse([str(gin_file)])
    with pytest.MonkeyPatch.context() as patch:
        from difflut.training import Trainer

        run_epoch = Trainer.run_epoch

        def stopped(self, *args):
            if self.epoch == 2:
                raise KeyboardInterrupt
            return run_epoch(self, *args)

        patch.setattr(Trainer, "run_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            config.run()
    folder = only_run(tmp_path)
    assert len(metrics(folder)) == 2
    # As if the kill had come between the metrics and the checkpoint of an epoch, and in the middle of a line.
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')

    torch.manual_seed(1234)
    before = (folder / "config.gin").read_text()
    train(gin_file, f'train.resume = "{folder}"')
    assert (folder / "config.gin").read_text() == before
    assert only_run(tmp_path) == folder
    assert metrics(folder) == metrics(whole)
    old, new = (read_checkpoint(path / "last.pt")["state"] for path in (whole, folder))
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_a_killed_process_loses_at_most_an_epoch(gin_file, tmp_path):
    command = [sys.executable, "run.py", "--gin_file", str(gin_file), "--gin_param", "train.epochs = 100000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if list(tmp_path.glob("runs/*/metrics.jsonl")) and len(metrics(only_run(tmp_path))) >= 3:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    folder = only_run(tmp_path)
    finished = len((folder / "metrics.jsonl").read_text().splitlines())
    assert finished >= 3
    assert read_checkpoint(folder / "last.pt")["training"]["epoch"] >= finished - 1


def test_a_terminated_process_gives_the_command_that_continues_it(gin_file, tmp_path):
    command = [sys.executable, "run.py", "--gin_file", str(gin_file), "--gin_param", "train.epochs = 100000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(tmp_path.glob("runs/*/best.pt")):
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    empty, message, command, end = said.split("\n")
    assert (empty, message, end) == ("", "interrupted; continue with", "")
    done = len(metrics(only_run(tmp_path)))
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    pasted = f"{command} --gin_param 'train.epochs = {done + 1}'"
    result = subprocess.run(pasted, shell=True, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert [row[0] for row in metrics(only_run(tmp_path))] == list(range(1, done + 2))


def test_interrupting_says_how_to_continue(gin_file, tmp_path, capsys, monkeypatch):
    from difflut.training import Trainer

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(gin_file)
    assert f'train.resume = "{only_run(tmp_path)}"' in capsys.readouterr().err


def test_another_network_cannot_be_continued(gin_file, tmp_path):
    train(gin_file, "train.epochs = 1")
    folder = only_run(tmp_path)
    before = (folder / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"hidden/layers\.learnable\.output_size is 80, the run has 100"):
        train(gin_file, f'train.resume = "{folder}"', "hidden/layers.learnable.output_size = 80")
    assert (folder / "metrics.jsonl").read_text() == before


def test_a_folder_without_a_run_is_an_error(gin_file, tmp_path):
    with pytest.raises(config.ConfigurationError, match="no run to continue here"):
        train(gin_file, f'train.resume = "{tmp_path}"')


def test_a_damaged_checkpoint_is_not_continued(gin_file, tmp_path):
    train(gin_file, "train.epochs = 1")
    folder = only_run(tmp_path)
    content = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(config.ConfigurationError, match=r"last\.pt: damaged or not a checkpoint"):
        train(gin_file, f'train.resume = "{folder}"')


def test_without_validation_rows_the_last_epoch_is_taken(gin_file):
    result = train(gin_file, "dataset.validation_fraction = 0.0", "train.epochs = 2")
    assert result["best_epoch"] == 2


@pytest.mark.parametrize(
    "parameters,fused",
    [
        ([], True),
        (["train.loss = @losses.cross_entropy"], True),
        (["train.loss = @losses.cross_entropy", "cross_entropy.label_smoothing = 0.1"], False),
        (["train.loss = @soft/losses.cross_entropy", "soft/losses.cross_entropy.label_smoothing = 0.1"], False),
    ],
)
def test_the_listed_name_of_the_loss_is_the_loss_that_steps_fuse(gin_file, monkeypatch, parameters, fused):
    seen = []

    def stop(model, x, y, loss, **options):
        seen.append(loss)
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.training.train.Trainer", stop)
    with pytest.raises(KeyboardInterrupt):
        train(gin_file, *parameters)
    assert (seen[0] is cross_entropy) == fused


@pytest.mark.parametrize(
    "parameter,remedy",
    [
        ("train.loss = @losses.distillation", "add train.teacher = @teachers.trained"),
        ("train.teacher = @teachers.trained", "add train.loss = @losses.distillation"),
        ("train.refined_epochs = 2", "train.refinement go together"),
        ("train.freezing = (0.9, 0.4)", "freezing=.* must be two shares of the epochs in order"),
        ("train.freezing = 0.4", "freezing"),
        ("train.redraw_epochs = 99", "train.redraw_epochs must be a whole number, 2 to .*; got 99"),
        ("train.wiring_epochs = 99", "train.wiring_epochs must be a whole number, 0 to .*; got 99"),
        ("train.refinement = @refinements.coordinate_descent", "set both, such as 10 and"),
        ("train.teacher = @teachers.dense", "add .* and teachers.trained.network = @teachers.dense"),
        ("train.epochs = 0", "train.epochs must be a whole number, 1 or more; got 0"),
        ("train.epochs = 1.5", "train.epochs = 1.5 must be a whole number"),
        ("train.checkpoint_seconds = -1", "train.checkpoint_seconds must be a number of seconds, 0 or more; got -1"),
        ("train.batch_size = 0", "batch_size=0 must be a whole number"),
        ("train.seed = 99999999999", "train.seed must be a whole number, 0 to 4294967295; got 99999999999"),
        ("train.name = 'a/b'", "train.name = 'a/b' must be 1 to 100 letters"),
        ("train.workers = 2\ntrain.devices = 2", "train.devices = 2 has no effect beside train.workers"),
        ("train.freezing = (1.0, 1.0)", r"freezing=\(1.0, 1.0\) has no effect: 2 layers"),
        (
            "train.refinement = @refinements.coordinate_descent\ntrain.refined_epochs = 1\n"
            "refinements.coordinate_descent.copies = 2",
            "copies=2 has no effect without an augmentation",
        ),
        ("train.device = 'tpu'", "train.device: there is no 'tpu' here; known: auto, cpu"),
        ("optimizers.adam.lr = -0.1", "lr=-0.1 must be above 0"),
        ("optimizers.adam.betas = (0.9, 1)", "must each be at least 0 and below 1"),
        ("train.schedule = @schedules.step\nschedules.step.every = 0", "every=0 must be at least 1 epoch"),
        (
            "train.loss = @losses.cross_entropy\nlosses.cross_entropy.label_smoothing = 2.0",
            "label_smoothing=2.0 must lie between 0 and 1",
        ),
        (f"{TAUGHT}losses.distillation.weight = 2.0", "needs a weight from 0 to 1 .* got 2.0 and 3.0"),
        (f"{TAUGHT}teachers.trained.lr = -1.0", r"teachers\.trained: lr=-1.0 must be above 0"),
        (f"{TAUGHT}teachers.trained.batch_size = 1", r"teachers\.trained: batch_size=1 must be at least 2"),
        (f"{TAUGHT}teachers.dense.depth = -1", r"teachers\.dense: depth=-1 must be at least 1"),
        (
            f"{TAUGHT}dataset.name = 'flat'\nteachers.trained.network = @teachers.convolutional",
            r"teachers\.convolutional needs images, got rows of shape \(3,\)",
        ),
        (
            "layers.random.node_kwargs = @nodes.NodeConfig()\n"
            "nodes.NodeConfig.regularizers = {'l': (@regularizers.l, 0.1, {'p': -1.0})}",
            "p=-1.0 must be at least 1",
        ),
        ("tracking.mode = 'ofline'", "tracking.mode: there is no 'ofline'; known: disabled, offline, online"),
        ("dataset.name = 'digitz'", "did you mean 'digits'"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_run_begins(gin_file, tmp_path, monkeypatch, parameter, remedy):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 3)), rng.integers(3, size=300)
    np.savez(tmp_path / "flat.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path))
    with pytest.raises(config.ConfigurationError, match=remedy):
        train(gin_file, parameter)
    assert not (tmp_path / "runs").exists()


def test_what_is_bound_and_given_by_the_job_is_told(gin_file, capsys):
    bound = [
        "dataset.seed = 5",
        "a/layers.random.seed = 3",
        "schedules.cosine.epochs = 9",
        "schedules.cosine.final_lr = 0.1",
    ]
    train(gin_file, "train.epochs = 1", *bound)
    told = [line for line in capsys.readouterr().out.splitlines() if "no effect" in line]
    names = ("a/layers.random.seed", "dataset.seed", "schedules.cosine.epochs")
    assert sorted(told) == [f"{name} is bound to no effect: the job gives its own" for name in names]


def test_a_fresh_start_in_a_used_folder_forgets_what_was_there(gin_file, tmp_path):
    folder = RunFolder(tmp_path / "trial")
    folder.path.mkdir()
    for _ in range(2):
        config.parse([str(gin_file)], ["train.epochs = 2", "train.checkpoint_seconds = None"])
        config.run(trial=TrialRun(folder))
    assert [row["epoch"] for row in folder.metrics()] == [1, 2]


def test_a_checkpoint_is_evaluated_by_its_job(gin_file, tmp_path):
    result = train(gin_file, "train.epochs = 1")
    checkpoint = only_run(tmp_path) / "best.pt"
    config.parse([str(gin_file)], ["run.job = @evaluate", f'evaluate.checkpoint = "{checkpoint}"'])
    assert config.run()["accuracy_hard"] == result["test_accuracy_hard"]


def test_a_checkpoint_is_not_evaluated_on_data_that_mean_something_else(gin_file, tmp_path, monkeypatch):
    train(gin_file, "train.epochs = 1")
    checkpoint = only_run(tmp_path) / "best.pt"
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path))
    x, y = np.random.default_rng(1).integers(0, 17, (260, 8, 8)).astype(np.uint8), np.arange(260)
    rows = {"x_train": x, "x_test": x}
    np.savez(tmp_path / "letters.npz", **rows, y_train=y % 26, y_test=y % 26)
    np.savez(tmp_path / "renamed.npz", **rows, y_train=y % 10 + 1, y_test=y % 10 + 1)
    np.savez(tmp_path / "scaled.npz", x_train=x / 16, x_test=x / 16, y_train=y % 10, y_test=y % 10)
    for name, message in (
        ("letters", "the network has 10 classes, letters has 26"),
        ("renamed", r"trained on classes \['0', .*renamed has \['1'"),
        ("scaled", "trained on features uint8; scaled has float32"),
    ):
        bound = ["run.job = @evaluate", f'evaluate.checkpoint = "{checkpoint}"', f'dataset.name = "{name}"']
        config.parse([str(gin_file)], bound)
        with pytest.raises(config.ConfigurationError, match=message):
            config.run()


def test_training_without_tracking_imports_neither_wandb_nor_ray(gin_file):
    code = (
        "import sys, experiments; from difflut import config; "
        f"config.parse([{str(gin_file)!r}], ['train.epochs = 1']); config.run(); "
        "assert not {'wandb', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env=os.environ, stdout=subprocess.DEVNULL)
