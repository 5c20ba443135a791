import itertools
import os
import random

import pytest
from matplotlib.figure import Figure

import experiments  # noqa: F401
from difflut import config
from experiments.runs import Sweep
from tests.experiments.trainings import FILE

SEED = "train.seed"
TRAIN = """
run.job = @train
train.network = @network
train.optimizer = @optimizers.adam
train.epochs = 1
train.checkpoint_seconds = None
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@layers.random]
layers.random.node_type = @nodes.dwn
layers.random.output_size = 60
nodes.dwn.input_dim = 4
tracking.mode = "disabled"
dataset.name = "digits"
"""


@pytest.fixture
def gin_file(tmp_path):
    path = tmp_path / "experiment.gin"
    path.write_text(FILE + f'train.runs = "{tmp_path}/runs"\n')
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The folder of a run that kept its best network only."""
    folder = tmp_path_factory.mktemp("export")
    file = folder / "train.gin"
    file.write_text(TRAIN + f'train.runs = "{folder}/runs"\n')
    config.parse([str(file)], [])
    config.run()
    (made,) = (folder / "runs").iterdir()
    return made


@pytest.fixture
def no_login(tmp_path, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))


@pytest.fixture
def figures(monkeypatch):
    drawn = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        drawn.append(figure)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return drawn


def finish(trial, accuracy, luts=100, epochs=5, **result):
    trial.record("running")
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "val_accuracy_hard": accuracy - 0.3 / epoch, "gap": 0.1 / epoch, "seconds": 1.0}
        trial.run.append_metrics({**row, "samples_per_second": 1000.0})
    scores = {"test_accuracy_hard": accuracy, "gap": 0.01, "luts": luts, "train_seconds": 5.0}
    trial.run.write_result({"dataset": "digits", **scores, **result})
    trial.record("finished")


@pytest.fixture
def made_up_sweep(tmp_path):
    """Makes a sweep over dimensions, whose trials end as `outcome(trial)` says: an accuracy, a state, or None.

    The rest is set into result.json; a function gives it for each trial.
    """

    def make(dimensions, outcome=None, name="made up", **result):
        noise = random.Random(0)
        sweep = Sweep.create(
            str(tmp_path / "runs"), name, "run.job = @ablate\n", {"val_accuracy_hard": "max"},
            dimensions, SEED if SEED in dimensions else None,
        )  # fmt: skip
        points = [dict(zip(dimensions, values, strict=True)) for values in itertools.product(*dimensions.values())]
        sweep.add(
            {"values": values, "bindings": {}, "tables": 100, "parameters": 6400, "epochs": 5} for values in points
        )
        for trial in sweep.trials:
            end = noise.uniform(0.8, 1.0) if outcome is None else outcome(trial)
            if isinstance(end, str):
                trial.record(end, reason=f"{end} for a reason" if end in ("failed", "stopped") else None)
            elif end is not None:
                finish(trial, end, **{key: one(trial) if callable(one) else one for key, one in result.items()})
        return sweep

    return make
