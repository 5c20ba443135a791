import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import experiments  # noqa: F401
from difflut import config
from difflut.command import main
from difflut.models import read_checkpoint
from experiments.runs import RunFolder
from experiments.training.resuming import SETTINGS
from tests.experiments.trainings import metrics, only_run, train

ROOT = Path(__file__).parents[2]


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


def test_a_full_disk_is_told_in_a_line_with_the_command_that_goes_on(gin_file, tmp_path, capsys, monkeypatch):
    def full(self, row):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr(RunFolder, "append_metrics", full)
    monkeypatch.setattr(sys, "argv", ["difflut", "--gin_file", str(gin_file)])
    assert main() == 1
    said = capsys.readouterr().err
    assert said.endswith("difflut: metrics.jsonl: No space left on device; make room there, and go on\n")
    assert f'train.resume = "{only_run(tmp_path)}"' in said and "Traceback" not in said


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
