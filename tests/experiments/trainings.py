"""A small training as a Gin file, and its run."""

import json
from pathlib import Path

import experiments  # noqa: F401
from difflut import config

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


def train(gin_file, *parameters):
    config.parse([str(gin_file)], list(parameters))
    return config.run()


def only_run(tmp_path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def metrics(folder: Path, keys=("epoch", "train_loss", "train_accuracy", "val_accuracy_hard", "gap")) -> list[tuple]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[key] for key in keys) for row in rows]
