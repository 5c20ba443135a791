"""Trainings by several processes of this machine."""

import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import experiments  # noqa: F401
from difflut import config
from difflut.config import ConfigurationError
from experiments.runs import RunFolder, TrialRun
from experiments.shared.failures import JobError
from experiments.training import group, starting

ROOT = Path(__file__).parents[2]
SEEN = ("epoch", "train_accuracy", "val_accuracy_hard", "val_accuracy_relaxed")


def trained(folder, *parameters):
    """The result and the run of the digits quickstart, shortened."""
    file = ROOT / "gin_configs" / "quickstart.gin"
    own = ["train.epochs = 2", f'train.runs = "{folder}"', 'tracking.mode = "disabled"', 'train.device = "cpu"']
    config.parse([str(file)], [*own, *parameters])
    result = config.run()
    return result, RunFolder(max(folder.iterdir(), key=lambda path: path.stat().st_mtime))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    result, run = trained(tmp_path_factory.mktemp("alone"))
    return result, run.metrics()


def seen(rows):
    return [[row[key] for key in SEEN] for row in rows]


def test_two_processes_leave_the_run_of_one_and_either_goes_on_with_it(tmp_path, alone, capsys):
    result, rows = alone
    shared, run = trained(tmp_path, "train.epochs = 1", "train.devices = 2")
    assert shared["processes"] == 2 and [path.name for path in tmp_path.iterdir()] == [run.path.name]
    output = capsys.readouterr().out
    assert output.count("epoch 1/1") == 1 and "the gradients' sum over 2 processes takes" in output
    assert (run.path / "plots" / "summary.png").exists()
    longer, run = trained(tmp_path, f'train.resume = "{run.path}"')
    assert "continued with train.devices = 1 instead of 2" in capsys.readouterr().out
    assert seen(run.metrics()) == seen(rows)
    assert [row["train_loss"] for row in run.metrics()] == pytest.approx([row["train_loss"] for row in rows], rel=1e-4)
    assert longer["test_accuracy_hard"] == result["test_accuracy_hard"]


def test_a_refinement_has_no_sum_of_gradients_to_tell_of(tmp_path, capsys):
    refined = ["train.refinement = @refinements.coordinate_descent", "train.refined_epochs = 1"]
    small = ["train.epochs = 1", "layers.learnable.output_size = 30", "train.devices = 2"]
    result, _ = trained(tmp_path, *small, *refined)
    output = capsys.readouterr().out
    assert result["processes"] == 2 and output.count("epoch 1/1") == 1 and "gradients' sum" not in output


def test_torchrun_starts_the_same_run(tmp_path, alone):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    parameters = [
        "train.epochs = 2",
        f'train.runs = "{tmp_path}"',
        'tracking.mode = "disabled"',
        'train.device = "cpu"',
    ]
    command += ["run.py", "--gin_file", "quickstart"]
    command += [part for parameter in parameters for part in ("--gin_param", parameter)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    run = RunFolder(folder)
    assert done.stdout.count("epoch 1/2") == 1 and seen(run.metrics()) == seen(alone[1])
    assert run.result()["processes"] == 2


LOSS = """
import os, signal
from torch.nn.functional import cross_entropy
from difflut.registry import register_loss

@register_loss("doomed")
def doomed(logits, y, how: str = "killed"):
    if os.environ["RANK"] == "1":
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ArithmeticError("no luck")
    return cross_entropy(logits, y)
"""


ONCE = """
import os, pathlib, signal
from torch.nn.functional import cross_entropy
from difflut.registry import register_loss

calls = 0

@register_loss("once_killed")
def once_killed(logits, y, mark: str = ""):
    global calls
    calls += 1
    if os.environ["RANK"] == "1" and calls == 60 and not os.path.exists(mark):  # in the second epoch
        pathlib.Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return cross_entropy(logits, y)
"""


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("killed", JobError, "process 1 of the 2 that train together was killed by SIGKILL"),
        ("raises", ArithmeticError, "no luck"),
    ],
)
def test_a_process_that_dies_ends_the_others_and_says_why(tmp_path, monkeypatch, how, error, message):
    (tmp_path / "doomed_loss.py").write_text(LOSS)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "doomed.gin"
    file.write_text(f"import doomed_loss\ntrain.loss = @losses.doomed\nlosses.doomed.how = '{how}'\n")
    config.parse([str(ROOT / "gin_configs" / "quickstart.gin"), str(file)], [
        f'train.runs = "{tmp_path}/runs"', 'tracking.mode = "disabled"', 'train.device = "cpu"', "train.devices = 2",
    ])  # fmt: skip
    with pytest.raises(error, match=message):
        config.run()


def listened(*talks):
    """What is raised where processes say this; None instead of words is a killed one, "" one that waits."""
    spoken = [Pipe() for _ in talks]
    for (_, theirs), words in zip(spoken, talks, strict=True):
        if words:
            theirs.send(("error", words))
        if words != "":
            theirs.close()
    ended = SimpleNamespace(join=lambda: None, exitcode=-signal.SIGKILL)
    with pytest.raises(Exception) as raised:
        starting._listen([ended] * len(talks), [ours for ours, _ in spoken], TrialRun(None))
    return raised.value


def test_of_several_errors_the_earliest_is_told(monkeypatch):
    monkeypatch.setattr(starting, "EARLIER", 0.01)
    cause, consequence = (1.5, ArithmeticError("no luck")), (2.5, RuntimeError("connection lost"))
    for talks in ((consequence, cause), (cause, consequence), (cause, ""), ("", cause)):
        assert str(listened(*talks)) == "no luck"
    killed = "process 1 of the 2 that train together was killed by SIGKILL; the others"
    assert str(listened(consequence, None)) == f"{killed} told RuntimeError: connection lost"
    assert str(listened("", None)) == f"{killed} were ended"


LATE = """
import atexit, os

if os.environ.get("RANK") == "1":
    atexit.register(os.abort)
"""


def test_a_process_that_dies_with_its_work_done_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "late_death.py").write_text(LATE)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "late.gin"
    file.write_text("import late_death\n")
    config.parse([str(ROOT / "gin_configs" / "quickstart.gin"), str(file)], [
        f'train.runs = "{tmp_path}/runs"', 'tracking.mode = "disabled"', 'train.device = "cpu"', "train.devices = 2",
        "train.epochs = 1", "layers.learnable.output_size = 30",
    ])  # fmt: skip
    assert config.run()["processes"] == 2


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (0, "train.devices must be a whole number, 1 or more; got 0"),
        ('"all"', "'all' means all GPUs, and there is none"),
    ],
)
def test_devices_that_are_not_there_are_refused(tmp_path, devices, message):
    with pytest.raises(ConfigurationError, match=message):
        trained(tmp_path, f"train.devices = {devices}")


def test_each_process_names_its_own_gpu_to_nccl(monkeypatch):
    asked = []

    def init_process_group(*backend, device_id, **_):
        asked.append((*backend, device_id))
        raise InterruptedError

    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", init_process_group)
    for device in ("auto", "cpu"):
        with pytest.raises(InterruptedError), group.joined(device):
            pass
    assert asked == [torch.device("cuda", 1), ("nccl", torch.device("cuda", 1)), ("gloo", None)]


def test_workers_of_ray_train_leave_the_same_run_though_one_is_killed(tmp_path, alone):
    (tmp_path / "once_killed.py").write_text(ONCE)
    file = tmp_path / "once.gin"
    file.write_text(
        f"include '{ROOT}/gin_configs/quickstart.gin'\nimport once_killed\n"
        f'train.loss = @losses.once_killed\nlosses.once_killed.mark = "{tmp_path}/mark"\n'
        f'train.runs = "{tmp_path}/runs"\ntracking.mode = "disabled"\ntrain.device = "cpu"\ntrain.workers = 2\n'
        "train.epochs = 2\n"
    )
    # In a process of its own: Ray reads how it is to protect itself when it is imported, and other tests import it.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    output = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--gin_file", str(file)],
        cwd=ROOT, env=clean | {"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (folder,) = (tmp_path / "runs").iterdir()
    assert (tmp_path / "mark").exists() and RunFolder(folder).result()["processes"] == 2
    assert seen(RunFolder(folder).metrics()) == seen(alone[1])
    assert output.count("epoch 2/2") == 1 and output.count("epoch 1/2") == 1
