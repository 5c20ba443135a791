"""Wrong calls of everything that is public, each with the error that names what is wrong."""

import math

import numpy as np
import pytest
import torch

from difflut.layers import GroupSum, LayerConfig
from difflut.models import LUTNetwork, network, save_checkpoint
from difflut.nodes import NodeConfig
from difflut.registry import (
    ENCODERS,
    INITIALIZERS,
    LAYERS,
    NODES,
    OPTIMIZERS,
    REGULARIZERS,
    ArgumentError,
    check_call,
    checked,
)
from difflut.training import Trainer

X, Y = torch.linspace(-1, 1, 600).sin().view(30, 20), torch.arange(30) % 2
ENCODER = ENCODERS["thermometer"](4).fit(X)
DWN = NODES["dwn"]


def random(*sizes, node_type="dwn", n=4, **options):
    return LAYERS["random"](*(sizes or (80, 20)), node_type, n, **options)


def learnable(**options):
    return LAYERS["learnable"](80, 20, "dwn", 4, **options)


def model(encoder=ENCODER, layers=None, groupsum=None):
    return LUTNetwork(encoder, [random()] if layers is None else layers, GroupSum(2) if groupsum is None else groupsum)


def trainer(x=X, y=Y, **options):
    return Trainer(model(), x, y, **{"optimizer": "adam", **options})


WRONG = [
    (lambda: random(node_type="dwnn"), r"Random: node_type='dwnn': no node is called 'dwnn'; did you mean 'dwn'"),
    (lambda: random(node_type=5), "Random: node_type=5 must be what makes a Node, or the name of a node"),
    (lambda: random(node_type=DWN()), r"Random: node_type=DWN\(.*\) must be what makes a Node"),
    (lambda: random(node_type=LAYERS["random"]), "Random: node_type=<class .* must be what makes a Node"),
    (lambda: NODES["warp"](init_fn="kaiming"), "Warp: init_fn='kaiming': no initializer .* did you mean"),
    (lambda: NODES["warp"](init_fn=3), "Warp: init_fn=3 must be a function, or the name of an initializer"),
    (lambda: NODES["warp"](init_fn="normal", init_kwargs={"sdt": 1}), "normal: no argument is called 'sdt'.*'std'"),
    (lambda: NODES["warp"](init_fn="normal", init_kwargs={"std": math.nan}), "normal: std=nan must be a finite number"),
    (lambda: NODES["warp"](regularizers=["l22"]), "no regularizer is called 'l22'; did you mean 'l2'"),
    (lambda: NODES["warp"](regularizers={"l2": math.nan}), "weight=nan must be a finite number"),
    (lambda: NODES["warp"](regularizers={"l": ("l", 1.0, {"q": 2})}), "l: no argument is called 'q'"),
    (lambda: NODES["warp"](regularizers=3), "Warp: regularizers=3 must be a mapping or a list or text"),
    (lambda: random(n="6"), "Random: n='6' must be a whole number"),
    (lambda: random(n=4.0), r"Random: n=4\.0 must be a whole number"),
    (lambda: random(n=True), "Random: n=True must be a whole number"),
    (lambda: random(80.0, 20), r"Random: input_size=80\.0 must be a whole number or a list"),
    (lambda: random(80, "20"), "Random: output_size='20' must be a whole number"),
    (lambda: random(seed="a"), "Random: seed='a' must be a whole number or None"),
    (lambda: random(image_shape=4, window=2), "Random: image_shape=4 must be a list, each item a whole number"),
    (lambda: random(image_shape="4x5", window=2), "Random: image_shape='4x5' must be a list"),
    (lambda: random(image_shape=(4, 5, 4), window=2), r"image_shape=\(4, 5, 4\) must be \(height, width\)"),
    (lambda: random(reads="encoder"), "Random: reads='encoder' must be a list, each item text"),
    (lambda: random(sed=1), "Random: no argument is called 'sed'; did you mean 'seed'?"),
    (lambda: random(node_kwargs={"temprature": 1}, node_type="warp"), "Warp: no argument is called 'temprature'"),
    (lambda: random(layer_config={"flip_prob": 0.1}), "LayerConfig: .* did you mean 'flip_probability'"),
    (lambda: random(layer_config=0.1), r"layer_config=0\.1 must be a LayerConfig or a mapping or None"),
    (lambda: LAYERS["random"](80, 20), "Random: missing a required argument: 'node_type'"),
    (lambda: learnable(top_k=4.0), r"Learnable: top_k=4\.0 must be a whole number"),
    (lambda: learnable(topk=4), "Learnable: .* did you mean 'top_k'"),
    (lambda: learnable(tau=math.nan), "Learnable: tau=nan must be a finite number"),
    (lambda: learnable(tau_start=math.inf), "Learnable: tau_start=inf must be a finite number"),
    (lambda: learnable(gumbel="False"), "Learnable: gumbel='False' must be True or False"),
    (lambda: learnable(selection="soft", tau=0.1), r"tau=0\.1 needs selection='straight_through'"),
    (lambda: learnable(image_shape=(4, 5), window=2), "window=2, .* need top_k"),
    (lambda: NODES["difflogic"](temperature=2.0), r"DiffLogic: temperature=2\.0 .* needs noise=True"),
    (
        lambda: NODES["warp"](init_fn="kaiming_normal", init_kwargs={"a": 0.1, "nonlinearity": "relu"}),
        r"a=0\.1 is the slope of nonlinearity='leaky_relu' below 0; 'relu' has none",
    ),
    (lambda: NodeConfig(input_dim="4"), "NodeConfig: input_dim='4' must be a whole number"),
    (lambda: NodeConfig(input_dims=4), "NodeConfig: .* did you mean 'input_dim'"),
    (lambda: LayerConfig(flip_probability=math.nan), "flip_probability=nan must be a finite number"),
    (lambda: NODES["probabilistic"](temperature=-math.inf), "Probabilistic: temperature=-inf must be a finite number"),
    (lambda: NODES["dwn_stable"](gradient_scale=math.nan), "gradient_scale=nan must be a finite number"),
    (lambda: NODES["polylut"](degree=2.0), r"PolyLUT: degree=2\.0 must be a whole number"),
    (lambda: DWN(use_cuda="false"), "DWN: use_cuda='false' must be True or False"),
    (lambda: ENCODERS["thermometer"]("4"), "Thermometer: num_bits='4' must be a whole number"),
    (lambda: ENCODERS["thermometer"](num_bit=4), "Thermometer: .* did you mean 'num_bits'"),
    (lambda: ENCODERS["thermometer"](feature_wise="False"), "feature_wise='False' must be True or False or 'channels'"),
    (lambda: ENCODERS["thermometer"]().fit(None), "Thermometer: fit takes a tensor, an array, or .* got None"),
    (lambda: ENCODER(X.numpy()), "Thermometer: needs a tensor, got a ndarray"),
    (lambda: GroupSum(3, math.nan), "GroupSum: tau=nan must be a finite number"),
    (lambda: GroupSum(3, "2"), "GroupSum: tau='2' must be a finite number"),
    (lambda: GroupSum(3, tau_end=math.inf), "GroupSum: tau_end=inf must be a finite number or None"),
    (lambda: model(layers=[random(81, 20)]), "the encoder gives 80 bits, the first layer reads 81"),
    (lambda: model(layers=[]), r"layers=\[\] must hold at least one layer"),
    (lambda: model(layers=random()), "LUTNetwork: layers=Random.* must be a list, each item a Layer"),
    (lambda: model(layers=[torch.nn.Linear(3, 3)]), "LUTNetwork: layers=.* must be a list, each item a Layer"),
    (lambda: model(encoder=ENCODERS["thermometer"]), "LUTNetwork: encoder=<class .* must be an Encoder or None"),
    (lambda: model(groupsum=2), "LUTNetwork: groupsum=2 must be a GroupSum or None"),
    (lambda: model(groupsum=GroupSum(3)), "20 features cannot be divided into k=3"),
    (lambda: model(encoder=None)([[1.0] * 80]), "the network needs a tensor, got a list"),
    (lambda: network(20, 2, ENCODER, [random]), "network: input_shape=20 must be a list"),
    (lambda: network((20,), 2, ENCODER, [random()]), "network: layers=.* must be a list, each item what makes a Layer"),
    (lambda: network((20,), 2, ENCODER, [random], tau=math.nan), "network: tau=nan must be a finite number"),
    (lambda: trainer(optimiser="adam"), "Trainer: .* did you mean 'optimizer'"),
    (lambda: trainer(optimizer="adamm"), "Trainer: optimizer='adamm': no optimizer is called"),
    (lambda: trainer(X.numpy()), "Trainer: x=array.* must be a Tensor"),
    (lambda: trainer(batch_size=8.0), r"Trainer: batch_size=8\.0 must be a whole number"),
    (lambda: save_checkpoint(None, "model.pt"), "save_checkpoint: model=None must be a LUTNetwork"),
]


@pytest.mark.parametrize("call,message", WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_wrong_call_names_what_is_wrong(call, message):
    with pytest.raises((ArgumentError, ValueError, TypeError, KeyError), match=message):
        call()


def test_names_stand_for_components():
    layer = random(node_type="warp", node_kwargs={"init_fn": "kaiming_normal", "regularizers": ["l2", "spectral"]})
    assert type(layer.node) is NODES["warp"] and layer.node.init_fn is INITIALIZERS["kaiming_normal"]
    assert [p.function for p in layer.node.regularizers.values()] == [REGULARIZERS["l2"], REGULARIZERS["spectral"]]
    assert type(trainer(optimizer="sgd").optimizer) is type(OPTIMIZERS["sgd"]([torch.zeros(1)]))


@pytest.mark.parametrize(
    "regularizers,weights",
    [
        ("l2", {"l2": 1.0}),
        (["l2", REGULARIZERS["l1"], ("spectral", 0.5)], {"l2": 1.0, "l1": 1.0, "spectral": 0.5}),
        ({"l2": 0.1, "mine": ("l1", 2)}, {"l2": 0.1, "mine": 2}),
    ],
)
def test_regularizers_may_be_named_in_any_form(regularizers, weights):
    node = DWN(regularizers=regularizers)
    assert {label: penalty.weight for label, penalty in node.regularizers.items()} == weights


def test_numbers_of_other_libraries_are_numbers():
    layer = random(np.int64(80), torch.tensor(20), n=np.int32(4))
    assert (layer.input_size, layer.output_size, layer.n) == (80, 20, 4) and type(layer.output_size) is int
    assert type(GroupSum(2, np.float32(1.5)).tau) is float


def test_a_users_component_is_checked_too():
    class Mine(DWN):
        def __init__(self, strength: float = 1.0, **options):
            super().__init__(**options)
            self.strength = strength

    assert Mine(2, input_dim=3).input_dim == 3
    for options, message in (({"strenth": 1}, "Mine: .*'strength'"), ({"strength": "1"}, "Mine: strength='1' must be")):
        with pytest.raises(ArgumentError, match=message):
            Mine(**options)

    @checked
    def scaled(x, scale: float = 1.0):
        return x * scale

    assert scaled(3) == 3
    with pytest.raises(ArgumentError, match="scaled: scale=inf must be a finite number"):
        scaled(3, scale=math.inf)


def test_a_function_of_any_options_takes_any_name():
    def penalty(node, scale: float = 1.0, **options):
        return scale

    check_call(penalty, 1, {"scale": 2.0, "whatever": "x"})
    with pytest.raises(ArgumentError, match="penalty: scale='x' must be a finite number"):
        check_call(penalty, 1, {"scale": "x", "whatever": "x"})
