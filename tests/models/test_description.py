import copy
import json

import pytest
import torch
import yaml

from difflut.layers import GroupSum, LayerConfig
from difflut.models import ConfigError, LUTNetwork, build_model, describe
from difflut.nodes import NodeConfig
from difflut.registry import ENCODERS, INITIALIZERS, LAYERS, NODES, REGULARIZERS, UnknownComponentError

CONFIG = {
    "version": "1.0",
    "encoder": {"type": "thermometer", "params": {"num_bits": 3, "flatten": True}},
    "layers": [
        {
            "name": "hidden",
            "type": "learnable",
            "node_type": "polylut",
            "input_size": 24,
            "output_size": 32,
            "n": 4,
            "seed": 42,
            "top_k": 8,
            "node_params": {"input_dim": 4, "output_dim": 2, "degree": 3},
            "layer_training": {"flip_probability": 0.1, "grad_stabilization": "layerwise"},
            "node_init": {"initializer": "kaiming_normal", "init_kwargs": {"mode": "fan_in", "nonlinearity": "relu"}},
            "node_regularizers": ["l2"],
        },
        {
            "type": "random",
            "node_type": "dwn_stable",
            "input_size": 32,
            "output_size": 20,
            "n": 6,
            "seed": 43,
            "node_params": {"use_cuda": True, "gradient_scale": 0.5},
            "node_regularizers": {"l1": 0.1, "smooth": {"type": "l", "weight": 2, "arguments": {"p": 3}}},
        },
    ],
    "groupsum": {"k": 10, "tau": 2.0, "use_randperm": True},
}


def changed(path, value):
    config = copy.deepcopy(CONFIG)
    *parents, last = path
    place = config
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


def test_a_description_is_built_as_written():
    model = build_model(CONFIG)
    hidden, output = model.layers
    assert hidden.node.degree == 3 and hidden.top_k == 8 and hidden.node.num_nodes == 16
    assert hidden.layer_config == LayerConfig(flip_probability=0.1, grad_stabilization="layerwise")
    assert hidden.node.init_fn is INITIALIZERS["kaiming_normal"]
    assert output.node.gradient_scale == 0.5 and output.n == 6
    assert {label: penalty.weight for label, penalty in output.node.regularizers.items()} == {"l1": 0.1, "smooth": 2}
    model.encoder.fit(torch.rand(50, 8))
    assert model(torch.rand(5, 8)).shape == (5, 10)
    assert model.num_luts == 52 and model.regularization() > 0


def test_a_model_describes_itself_in_plain_data_that_builds_it_again():
    model = build_model(CONFIG)
    description = json.loads(json.dumps(describe(model)))
    again = build_model(description)
    assert describe(again) == describe(model)
    for old, new in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("dump", [yaml.safe_dump, json.dumps])
def test_descriptions_are_read_from_files(dump, tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(dump(CONFIG))
    assert describe(build_model(path)) == describe(build_model(CONFIG))


def test_one_seed_gives_layers_of_one_size_different_wirings():
    layer = {"type": "random", "node_type": "dwn", "output_size": 24, "n": 4}
    model = build_model({"seed": 1, "layers": [layer | {"input_size": 24}, layer]})
    assert not torch.equal(model.layers[0].wiring(), model.layers[1].wiring())
    assert model.encoder is None and model.groupsum is None


@pytest.mark.parametrize("node_type", NODES)
def test_the_guide_s_module_of_layers_works_with_every_node_type(node_type):
    encoder = ENCODERS["gray"](num_bits=4).fit(torch.rand(30, 6))
    config = NodeConfig(input_dim=2, output_dim=1, regularizers={"l2": REGULARIZERS["l2"]})
    layers = [
        LAYERS["random"](input_size=i, output_size=o, node_type=NODES[node_type], n=2, node_kwargs=config, seed=42 + i)
        for i, o in ((24, 12), (12, 6))
    ]
    x = encoder(torch.rand(5, 6))
    for layer in layers:
        x = torch.relu(layer(x))
    assert GroupSum(k=3)(x).shape == (5, 3)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["encoder", "type"], "termometer", r"encoder\.type: no encoder is called 'termometer'; did you mean 'therm"),
        (["encoder", "params", "num_bit"], 3, r"encoder\.params\.num_bit: unknown key; did you mean 'num_bits'\?"),
        (["layers", 1, "node_type"], "dwn_stabl", r"layers\[1\]\.node_type: no node is called .*import its module"),
        (["layers", 1, "type"], None, r"layers\[1\]\.type: missing; known: .*random"),
        (
            ["layers", 0, "node_params", "degre"],
            3,
            r"layers\[0\]\.node_params\.degre: unknown key; did you mean 'degree'",
        ),
        (["layers", 0, "node_params", "degree"], 0, r"layers\[0\]: .*degree=0 must be at least 1"),
        (["layers", 0, "n"], 6, r"layers\[0\]: n=6 needs nodes of 6 inputs, got input_dim=4"),
        (["layers", 0, "output_size"], "32", r"layers\[0\]: Learnable: output_size='32' must be a whole number"),
        (["layers", 0, "n"], "4", r"layers\[0\]: Learnable: n='4' must be a whole number or None"),
        (["layers", 0, "seed"], 1.5, r"layers\[0\]: Learnable: seed=1\.5 must be a whole number or None"),
        (
            ["layers", 0, "node_params", "use_cuda"],
            "false",
            r"layers\[0\]: PolyLUT: use_cuda='false' must be True or False",
        ),
        (
            ["layers", 0, "layer_training", "flip_probability"],
            "1e-5",
            r"layers\[0\]: LayerConfig: flip_probability='1e-5' must be a finite number",
        ),
        (
            ["layers", 0, "layer_training", "flip_probability"],
            True,
            r"layers\[0\]: LayerConfig: flip_probability=True must be a finite number",
        ),
        (
            ["encoder", "params", "feature_wise"],
            "False",
            r"encoder\.params: Thermometer: feature_wise='False' must be True or False or 'channels'",
        ),
        (["encoder", "params", "num_bits"], "3", r"encoder\.params: Thermometer: num_bits='3' must be a whole number"),
        (["groupsum", "tau"], "2.0", r"groupsum: GroupSum: tau='2\.0' must be a finite number"),
        (["seed"], "1", r"seed: must be a whole number, got '1'"),
        (["layers", 0, "input_size"], None, r"layers\[0\]\.input_size: the first layer needs it"),
        (["layers", 1, "input_size"], 30, r"layers\[1\] has input_size=30, but layers\[0\] has output_size=32"),
        (["layers", 0, "layer_training", "flip"], 0.1, r"layers\[0\]\.layer_training\.flip: unknown key"),
        (["layers", 0, "layer_training", "flip_probability"], 2, r"layers\[0\]: flip_probability=2"),
        (["layers", 0, "node_init", "initializer"], "he", r"layers\[0\]\.node_init\.initializer: no initializer"),
        (["layers", 0, "node_init", "init_kwargs", "std"], 1, r"layers\[0\]\.node_init\.init_kwargs\.std: unknown key"),
        (["layers", 0, "node_regularizers"], ["l3"], r"layers\[0\]\.node_regularizers\.l3: no regularizer"),
        (["layers", 1, "node_regularizers", "l1"], "x", r"layers\[1\]\.node_regularizers\.l1: must be a weight"),
        (["layers", 1, "node_type"], ["dwn"], r"layers\[1\]\.node_type: no node is called \"\['dwn'\]\""),
        (["layers", 1], {"type": "pool", "node_init": {}}, r"layers\[1\]\.node_init: unknown key"),
        (["layers", 1, "reads"], ["x"], r"layers\[1\] reads 'x', which is no source before it; known: encoder, hidden"),
        (
            ["groupsum", "reads"],
            ["encoder"],
            r"groupsum reads 'encoder', which is no source .*known: hidden, 1",
        ),
        (["layers"], [], "layers: must be a list of at least one layer"),
        (["groupsum", "k"], 3, r"GroupSum: 20 features cannot be divided into k=3 equal groups"),
        (["groupsum", "temperature"], 3, r"groupsum\.temperature: unknown key"),
        (["optimizer"], "adam", "optimizer: unknown key"),
    ],
)
def test_a_wrong_description_is_an_error_that_names_the_path(path, value, message):
    with pytest.raises(ConfigError, match=message):
        build_model(changed(path, value))


def test_layers_that_do_not_fit_are_named():
    layers = [LAYERS["random"](i, 10, NODES["dwn"], n=2) for i in (20, 30)]
    with pytest.raises(ValueError, match=r"layers\[1\] has input_size=30, but layers\[0\] has output_size=10"):
        LUTNetwork(None, layers)


def test_a_component_without_a_name_cannot_be_described():
    layer = LAYERS["random"](4, 4, NODES["dwn"], n=2, node_kwargs={"regularizers": {"mine": lambda node: 0}})
    with pytest.raises(UnknownComponentError, match="not a registered regularizer"):
        describe(LUTNetwork(None, [layer]))
