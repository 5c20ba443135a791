import numpy as np
import pytest

import experiments  # noqa: F401
from difflut import config
from tests.experiments.trainings import only_run, train


def test_a_missing_file_is_told_by_its_name(tmp_path):
    config.parse([], text=f'run.job = @evaluate\nevaluate.checkpoint = "{tmp_path}/lost.pt"')
    with pytest.raises(config.ConfigurationError, match=rf"^{tmp_path}/lost\.pt: No such file or directory$"):
        config.run()


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
