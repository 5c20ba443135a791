from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from difflut import config
from difflut.config import ConfigurationError
from experiments.shared.failures import JobError
from tests.experiments.conftest import TRAIN


def test_a_training_is_timed_on_each_number_of_devices(tmp_path, capsys):
    text = (
        TRAIN.replace("@train\n", "@scaling\n", 1)
        + 'train.device = "cpu"\nscaling.devices = [1, 2]\nscaling.weak = True\n'
    )
    config.parse([], text=text + "scaling.epochs = 2\ntrain.batch_size = 400\n")
    rates = config.run()
    output = capsys.readouterr().out.splitlines()
    assert list(rates) == [1, 2] and all(rate > 0 for rate in rates.values())
    assert output[1].startswith("2 devices, batches of 800:")
    assert output[-1].split() == ["2", f"{rates[2]:,.0f}", f"{rates[2] / rates[1]:.2f}"]


def test_no_training_waits_for_its_cost_in_hardware(monkeypatch):
    done = Mock(return_value=SimpleNamespace(returncode=1, stderr="a\ndifflut: no data\n  get them\n  here\n"))
    monkeypatch.setattr("experiments.benchmark.scaling.subprocess.run", done)
    config.parse([], text=TRAIN.replace("@train\n", "@scaling\n", 1))
    with pytest.raises(JobError, match="on 1 devices failed: difflut: no data get them here"):
        config.run()
    assert "train.count_luts = False" in done.call_args.args[0]


def test_more_devices_than_there_are_end_it_before_the_first_training(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("experiments.benchmark.scaling.subprocess.run", None)
    config.parse([], text=TRAIN.replace("@train\n", "@scaling\n", 1) + "scaling.devices = [1, 2]\n")
    with pytest.raises(ConfigurationError, match=r"each of scaling\.devices = 2, and there are 1 GPUs here"):
        config.run()


def test_what_cannot_be_timed_is_told(tmp_path):
    config.parse([], text="run.job = @scaling\n")
    with pytest.raises(ConfigurationError, match=r"include the Gin file of one, such as cifar10_conv\.gin"):
        config.run()
    config.parse(
        [], text=TRAIN.replace("@train\n", "@scaling\n", 1) + "scaling.devices = [1]\noptimizers.adam.lr = -1.0\n"
    )
    with pytest.raises(JobError, match=r"on 1 devices failed: .*lr=-1\.0 must be above 0"):
        config.run()
