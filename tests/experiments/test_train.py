import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

import experiments  # noqa: F401
from difflut import config
from difflut.models import load_checkpoint
from difflut.training import evaluate
from difflut.training.losses import cross_entropy
from experiments.data import load_dataset
from experiments.runs import RunFolder, TrialRun
from experiments.shared.costs import USED
from tests.experiments.trainings import metrics, only_run, train

ROOT = Path(__file__).parents[2]


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


def test_a_training_that_asks_no_cost_counts_no_luts(gin_file, monkeypatch, capsys):
    counted = Mock(side_effect=RuntimeError("minutes"))
    monkeypatch.setattr("experiments.training.measuring.estimated_cost", counted)
    monkeypatch.setattr("experiments.training.foretelling.estimate_cost", counted)
    train(gin_file, "train.count_luts = False", "train.dry_run = True")
    result = train(gin_file, "train.count_luts = False", "train.epochs = 1")
    assert not counted.called and "luts" not in result and "cost in hardware unknown" in capsys.readouterr().out


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

    monkeypatch.setattr("experiments.training.recipe.Trainer", stop)
    with pytest.raises(KeyboardInterrupt):
        train(gin_file, *parameters)
    assert (seen[0] is cross_entropy) == fused


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


def test_training_without_tracking_imports_neither_wandb_nor_ray(gin_file):
    code = (
        "import sys, experiments; from difflut import config; "
        f"config.parse([{str(gin_file)!r}], ['train.epochs = 1']); config.run(); "
        "assert not {'wandb', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env=os.environ, stdout=subprocess.DEVNULL)
