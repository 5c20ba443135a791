import json
import os
import sys

import pytest
import torch

import experiments  # noqa: F401
from difflut.training import DivergedError, Trainer
from experiments.cluster.courier import Courier, Office, trial_folder
from experiments.runs import RunFolder
from experiments.sweep.worker import OUTCOME, TrialError, Work, _train, run_trial
from experiments.training.tracking import Tracker

TEXT = """
train.network = @network
train.optimizer = @optimizers.adam
train.epochs = 2
train.batch_size = 256
train.device = "cpu"
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@a/layers.random]
layers.random.node_type = @nodes.dwn
nodes.dwn.input_dim = 4
a/layers.random.output_size = 20
tracking.mode = "disabled"
"""
TRIAL = {
    "id": "0003",
    "values": {"a/layers.random.output_size": "30", "nodes.dwn.input_dim": "3"},
    "bindings": {"a/layers.random.output_size": "30", "nodes.dwn.input_dim": "3"},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "0003").mkdir()
    return RunFolder(tmp_path / "0003")


def run(folder, report=lambda row: None):
    return _train(TRIAL, folder, Work(folder.path.parent, "widths", TEXT, 1, 0, {}), report)


def test_a_trial_is_tracked_in_the_sweeps_group_with_its_values_as_flat_keys(folder, monkeypatch):
    seen = {}

    def tracking(**arguments):
        def start(folder, config):
            seen.update(arguments, folder=folder, config=config)
            return Tracker()

        return start

    monkeypatch.setattr("experiments.training.train.tracking", tracking)
    rows = []
    result = run(folder, rows.append)
    assert result["tables"] == 30 and [row["epoch"] for row in rows] == [1, 2]
    assert (seen["folder"], seen["group"], seen["job_type"]) == (folder.path, "widths", "trial")
    assert seen["tags"] == ["a_layers_random_output_size=30", "nodes_dwn_input_dim=3"]
    assert seen["config"]["a_layers_random_output_size"] == 30 and seen["config"]["nodes_dwn_input_dim"] == 3
    written = (folder.path / "config.gin").read_text()
    assert "train.trial" not in written and "run.job = @train" in written


def test_a_trial_of_two_gpus_is_trained_by_two_processes(folder):
    rows, work = [], Work(folder.path.parent, "widths", TEXT + 'train.device = "cpu"\n', 2, 2, {})
    result = _train(TRIAL, folder, work, rows.append)
    assert result["processes"] == 2 and [row["epoch"] for row in rows] == [1, 2]
    assert [row["epoch"] for row in folder.metrics()] == [1, 2]


def test_what_a_user_says_of_tracking_holds_in_a_sweep_too(folder, monkeypatch):
    seen = {}

    def tracking(**arguments):
        seen.update(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.training.train.tracking", tracking)
    own = "J = 'mine'\ntracking.tags = ['a', 'b']\ntracking.job_type = %J\ntracking.name = 'first'\n"
    with pytest.raises(KeyboardInterrupt):
        _train(TRIAL, folder, Work(folder.path.parent, "widths", TEXT + own, 1, 0, {}), lambda row: None)
    assert (seen["job_type"], seen["name"], seen["group"]) == ("mine", "first/0003", "widths")
    assert seen["tags"][:2] == ["a", "b"] and "nodes_dwn_input_dim=3" in seen["tags"]


def test_a_diverged_trial_says_so_and_any_other_failure_asks_for_another_attempt(folder, monkeypatch):
    for error, reason in (
        (DivergedError("the loss became nan"), "DivergedError: the loss became nan"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory: CUDA out of memory"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ):

        def failing(*arguments, error=error):
            raise error

        monkeypatch.setattr(Trainer, "run_epoch", failing)
        if isinstance(error, DivergedError):
            assert run(folder) == {OUTCOME: reason}
        else:
            with pytest.raises(TrialError, match=f"^{reason}$"):
                run(folder)
        assert (folder.path / "error.txt").read_text().startswith(f"{reason}\n\nTraceback")


def test_a_trial_stopped_by_the_scheduler_keeps_what_it_has(folder):
    with pytest.raises(SystemExit):
        run(folder, lambda row: sys.exit(0))
    assert len(folder.metrics()) == 1 and folder.last.exists() and not (folder.path / "error.txt").exists()
    assert len(run(folder)) > 5 and [row["epoch"] for row in folder.metrics()] == [1, 2]


def test_reports_tell_the_last_epoch_and_nothing_of_the_test_set(tmp_path, monkeypatch):
    import ray

    reports = []
    monkeypatch.setattr(ray, "get", list)
    monkeypatch.setattr("ray.tune.report", reports.append)
    monkeypatch.setattr("experiments.sweep.worker._node", lambda: "here")
    gaps = iter([0.1, 0.2, 0.3])  # of the validation rows in two epochs, and of the test set
    scores = {"accuracy_hard": 0.5, "accuracy_relaxed": 0.6}
    for module in ("fitting", "measuring"):
        monkeypatch.setattr(
            f"experiments.training.{module}.evaluate", lambda *_, **ranks: {**scores, "gap": next(gaps)}
        )
    (tmp_path / "sweep.json").write_text("{}")
    run_trial({"trial": json.dumps(TRIAL | {"epochs": 2})}, Work(tmp_path, "widths", TEXT, 1, 0, {}))
    *rows, last = reports
    assert [(row["epoch"], row["epochs"]) for row in rows] == [(1, 2), (2, 2)]
    result = json.loads((tmp_path / "trials" / "0003" / "result.json").read_text())
    assert last[OUTCOME] == "finished" and last["luts"] == result["luts"] > last["tables"] == 30
    assert (last["epoch"], last["gap"], result["gap"]) == (2, 0.2, 0.3)  # of equal epochs the later
    assert not [name for name in last if name.startswith("test_")]


def test_a_courier_brings_the_files_of_a_trial_home_and_takes_them_to_the_next_attempt(tmp_path):
    office, calls = Office(tmp_path / "home"), []

    def call(method, *arguments):
        calls.append((method, *(sorted(files) for files in arguments[1:])))
        return getattr(office, method)(*arguments)

    first, second = (Courier(call, "0007", tmp_path / place / "0007") for place in ("first", "second"))
    (first.folder / "plots").mkdir(parents=True)
    second.folder.mkdir(parents=True)
    first.fetch()
    (first.folder / "last.pt").write_bytes(b"one")
    (first.folder / "plots" / "a.png").write_bytes(b"picture")
    (first.folder / "trial.json").write_text("the office's")
    first.send()
    (first.folder / "last.pt").write_bytes(b"three")
    first.send()
    assert calls == [("read",), ("write", ["last.pt", "plots/a.png"]), ("write", ["last.pt"])]
    second.fetch()
    assert (second.folder / "last.pt").read_bytes() == (tmp_path / "home/0007/last.pt").read_bytes() == b"three"
    assert (second.folder / "plots/a.png").read_bytes() == b"picture"
    second.send()
    assert calls[-1] == ("write", [])


def test_a_node_that_sees_the_sweeps_folder_uses_it_and_one_that_does_not_needs_an_office(tmp_path):
    mark = tmp_path / "sweep.json"
    with pytest.raises(FileNotFoundError, match="is not on "), trial_folder(tmp_path / "trials", "0001", mark, None):
        pass
    mark.write_text("{}")
    with trial_folder(tmp_path / "trials", "0001", mark, None) as (path, send):
        assert path == tmp_path / "trials" / "0001" and os.path.isdir(path) and send() is None
