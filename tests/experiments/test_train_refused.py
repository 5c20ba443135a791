import numpy as np
import pytest

import experiments  # noqa: F401
from difflut import config
from tests.experiments.trainings import train

TAUGHT = """
train.loss = @losses.distillation
train.teacher = @teachers.trained
teachers.trained.network = @teachers.dense
"""


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_read(gin_file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(config.ConfigurationError, match=r"train\.runs = '.*/file/runs' cannot be a folder, as "):
        train(gin_file, f'train.runs = "{tmp_path}/file/runs"', 'dataset.name = "no such data"')


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
