import pytest

import experiments  # noqa: F401
from difflut import config
from difflut.config import differences, without
from difflut.config.statements import statements

TRAIN = """
run.job = @train
train.network = @network
train.optimizer = @optimizers.adam
network.encoder = @encoders.thermometer()
network.layers = [@a/layers.random]
layers.random.node_type = @nodes.dwn
a/layers.random.output_size = 20
"""


@pytest.mark.parametrize(
    "then,now",
    [
        ("TAU = 3.0\nnetwork.tau = %TAU", "network.tau = 3.0"),
        ("N = 4\nL = [1, %N]\ntrain.batch_size = %L", "train.batch_size = (1, 4)"),
        ("train.epochs = 20\ntrain.schedule = None", "train.batch_size = 128"),
        ("a/random.n = 4", "a/layers.random.n = 4"),
        ("train.loss = @distillation", "train.loss = @losses.distillation"),
        ("UNUSED = 3", "UNUSED = 4"),
        ("x = {'b': 1, 'a': 2}\ndataset.name = 'a'", "dataset.name = 'a'"),
    ],
)
def test_what_means_the_same_differs_in_nothing(then, now):
    assert differences(then, now) == differences(now, then) == {}


@pytest.mark.parametrize(
    "then,now,name,values",
    [
        ("TAU = 3.0\nnetwork.tau = %TAU", "TAU = 4.0\nnetwork.tau = %TAU", "network.tau", (3.0, 4.0)),
        ("", "train.epochs = 8", "train.epochs", (20, 8)),
        ("train.epochs = 8", "", "train.epochs", (8, 20)),
        ("layers.random.n = 4", "a/layers.random.n = 4", "a/layers.random.n", (None, 4)),
        ("a.b = [@x(), {'k': 1}]", "a.b = [@x, {'k': 1}]", "a.b", None),
        ("a.b = {'k': (1, 2)}", "a.b = {'k': (2, 1)}", "a.b", ({"k": [1, 2]}, {"k": [2, 1]})),
    ],
)
def test_a_difference_has_both_values(then, now, name, values):
    found = differences(then, now)
    assert name in found and values in (None, found[name])


def test_one_binding_is_left_out_however_many_lines_it_has():
    long = {f"dimension {number}": list(range(20)) for number in range(3)}
    config.parse([], [f"ablate.dimensions = {long}", "ablate.name = 'dimensions = '"], "run.job = @ablate")
    rest = statements(without(config.parsed_config(), "ablate.dimensions"))
    assert set(rest) == {"ablate.name", "run.job"}


def test_dictionaries_keep_their_order():
    config.parse([], ["ablate.dimensions = {'b': {'z': {}, 'a': {}}, 'a': [1]}"], "run.job = @ablate")
    text = config.parsed_config()
    found = statements(text)["ablate.dimensions"]
    assert list(found) == ["b", "a"] and list(found["b"]) == ["z", "a"]


def test_what_is_called_later_is_in_the_configuration_of_a_run():
    bound = """
WEIGHT = 0.25
train.loss = @x/losses.distillation
losses.distillation.weight = %WEIGHT
x/losses.distillation.temperature = 2.0
losses.cross_entropy.label_smoothing = 0.3
teachers.trained.network = @teachers.dense
teachers.dense.width = 7
train.teacher = @teachers.trained
train.epochs = 0
"""
    config.parse([], text=TRAIN + bound)
    with pytest.raises(config.ConfigurationError):  # no epochs: as far as this the configuration was used
        config.run()
    text = config.operative_config()
    found = statements(text)
    assert {name: repr(found[name]) for name in found if name.startswith(("losses", "x/", "teachers", "WEIGHT"))} == {
        "losses.distillation.weight": "%WEIGHT",
        "x/losses.distillation.temperature": "2.0",
        "teachers.trained.network": "@teachers.dense",
        "teachers.dense.width": "7",
        "WEIGHT": "0.25",
    }
    config.parse([], text=text)
