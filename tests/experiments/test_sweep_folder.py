import json

import pytest

from experiments.runs import Sweep, tracking_key

TRIAL = {"values": {"N": "2"}, "bindings": {"N": "2"}, "tables": 20, "parameters": 80, "epochs": 5}


@pytest.fixture
def sweep(tmp_path):
    return Sweep.create(str(tmp_path), "sizes", "N = 2\n", {"gap": "min", "luts": "min"}, {"N": ["2", "4"]}, None)


def test_a_sweep_is_read_as_it_was_made(sweep):
    sweep.add([TRIAL])
    sweep.add([TRIAL, TRIAL | {"tables": 30}])
    again = Sweep.open(sweep.path)
    assert vars(again) == vars(sweep) and [trial.id for trial in again.trials] == ["0000", "0001", "0002"]
    assert (again.metric, again.config, again.trials[2].tables) == ("gap", "N = 2\n", 30)
    assert again.path.name.startswith("sizes-")


def test_a_trial_is_pending_until_it_is_recorded_and_has_a_result_when_it_finished(sweep):
    (trial,) = sweep.add([TRIAL])
    assert (trial.status, trial.state["attempts"], trial.result, trial.metrics()) == ("pending", 0, None, [])
    trial.record("running", attempts=1, node="a")
    trial.run.write_result({"luts": 20})
    assert (trial.status, trial.state["node"], trial.result) == ("running", "a", None)
    trial.record("finished", ended=7.0)
    assert trial.result == {"luts": 20}
    assert trial.state == {"status": "finished", "reason": None, "attempts": 1, "node": "a", "ended": 7.0}
    with pytest.raises(ValueError, match="must be one of pending, running, finished, stopped, failed, got 'done'"):
        trial.record("done")


def test_what_is_no_sweep_or_of_another_version_is_an_error(sweep, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no sweep here; sweep\.json is missing"):
        Sweep.open(tmp_path)
    content = json.loads((sweep.path / "sweep.json").read_text()) | {"format": 1}
    (sweep.path / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="format 1; this version reads format 3"):
        Sweep.open(sweep.path)


def test_labels_become_flat_keys():
    assert tracking_key("hidden/layers.random.output_size") == "hidden_layers_random_output_size"
