"""What a network computes is what its layers do one after the other, whatever runs as one operation."""

import pytest
import torch
from torch import nn

from difflut import kernels
from difflut.layers import GroupSum, Layer
from difflut.models import LUTNetwork
from difflut.nodes import relaxed
from difflut.registry import LAYERS, NODES
from tests.layers.making import make_layer


class Doubled(Layer):
    """A wiring of a user's: training adds a constant to what the nodes give, which evaluation does not."""

    def wiring(self):
        return torch.arange(self.node.num_nodes * self.n).remainder(self.placements.window).view(-1, self.n)

    def relaxed(self, x):
        return 0.25 + super().relaxed(x) / 2


class Inverted(Doubled):
    """A layer of a user's that does something in either form."""

    def forward(self, x):
        return 1 - super().forward(x)


class Peeking(NODES["dwn"]):
    """A node type of a user's that trains otherwise than by looking up."""

    def relaxed(self, x, wiring):
        return super().relaxed(x, wiring) * 0.5


LAYER_TYPES = {**LAYERS, "user's relaxed": Doubled, "user's forward": Inverted}
NODE_TYPES = {**NODES, "user's node": Peeking}


def build(layer, node, groups=2, **options):
    """Two convolutions, the layer to be tested, which reads the second or both, and dense layers behind it."""
    n = 2 if node == "difflogic" else 4
    options = {"node_type": NODE_TYPES[node], "n": n, **options}
    convolution = {"shape": (3, 4, 4), "kernel_size": 3, "output_size": 8, "reads": ["encoder"], **options}
    first, second = (make_layer("random", name=name, seed=seed, **convolution) for seed, name in enumerate("ab"))
    channels = 16 if layer == "merge" else 8
    tested = make_layer(LAYER_TYPES[layer], shape=(channels, 2, 2), **options)
    hidden = make_layer("random", shape=(tested.out_features,), output_size=20, **options)
    last = make_layer("random", shape=(20,), output_size=16, **options)
    return LUTNetwork(None, [first, second, tested, hidden, last], GroupSum(groups, 3.0))


def outputs_of(network, x):
    """What each layer gives, called one after the other."""
    outputs = {-1: x}
    for i, (layer, sources) in enumerate(zip(network.layers, network.graph.sources, strict=True)):
        outputs[i] = layer(torch.cat([outputs[number] for number in sources], 1))
    return [outputs[i] for i in range(len(network.layers))]


def one_by_one(network, x):
    outputs = outputs_of(network, x)
    return network.groupsum(*(outputs[number] for number in network.head_sources))


def assert_same(network, x):
    """The outputs, and the gradients of x and of every parameter."""
    results = []
    for compute in (network.classify, lambda x: one_by_one(network, x)):
        inputs = x.clone().requires_grad_()
        y = compute(inputs)
        needed = [inputs, *network.parameters()]
        upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad(y, needed, upstream, allow_unused=True) if y.requires_grad else ()
        results.append((y, gradients))
    (y, gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize("node", NODE_TYPES)
@pytest.mark.parametrize("layer", LAYER_TYPES)
def test_a_network_is_its_layers_one_after_the_other(layer, node):
    network, x = build(layer, node), torch.rand(9, 48).round()
    assert_same(network, x)
    network.eval()
    assert_same(network, x)
    with relaxed(network):
        assert_same(network, x)


@pytest.mark.parametrize("layer", ["user's relaxed", "user's forward"])
@pytest.mark.parametrize("node", ["dwn", "dwn_stable", "probabilistic"])
def test_what_a_user_overrides_is_used(layer, node):
    network, plain = build(layer, node), build("random", node)
    x = torch.rand(9, 48).round()
    tested = network.layers[2]
    before = network.layers[1](x)
    base = super(Doubled, tested).relaxed(before)
    expected = 0.25 + base / 2 if layer == "user's relaxed" else 0.75 - base / 2
    torch.testing.assert_close(tested(before), expected)
    assert not torch.equal(network(x), plain(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("node", ["dwn", "probabilistic"])
@pytest.mark.parametrize("relaxation", [None, "maximum", "smoothed", "multilinear"])
def test_hooks_are_called(relaxation, node, training):
    network = paths(node, {"relaxation": relaxation}) if relaxation else build("random", node)
    network.train(training)
    called = []
    watched = [network, *network.layers, *(layer.node for layer in network.layers), network.groupsum]
    expected = network(x := torch.rand(9, 48).round())
    for module in watched:
        module.register_forward_hook(lambda module, inputs, output: called.append(module))
    torch.testing.assert_close(network(x), expected)
    assert set(called) == set(watched) and len(called) == len(watched)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("node", ["dwn", "neurallut"])
@pytest.mark.filterwarnings("error:Dynamo")
def test_a_network_can_be_compiled(node, training):
    network, x = build("learnable", node).train(training), torch.rand(9, 48).round()
    compiled = torch.compile(network, backend="eager")
    torch.testing.assert_close(compiled(x), network(x))
    if training:
        upstream, parameters = torch.randn(9, 2), list(network.layers[1:].parameters())
        found, expected = (torch.autograd.grad(model(x), parameters, upstream) for model in (compiled, network))
        torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("error:Dynamo")
def test_a_network_of_trees_can_be_compiled():
    network, x = trees("difflogic"), torch.rand(9, 48).round()
    compiled = torch.compile(network, backend="eager")
    torch.testing.assert_close(compiled(x), network(x))
    upstream, parameters = torch.randn(9, 2), list(network.parameters())
    found, expected = (torch.autograd.grad(model(x), parameters, upstream) for model in (compiled, network))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("strict", [True, False])
def test_what_cannot_be_exported_by_torch_names_what_can(strict):
    network = build("learnable", "dwn").eval()
    with pytest.raises(Exception, match=r"torch\.export .* cannot follow compiled kernels; .*write_onnx"):
        torch.export.export(network, (torch.rand(9, 48).round(),), strict=strict)


def trees(node, **pooling):
    """A convolution of trees of two levels and their maximum, and a dense layer."""
    options = {"node_type": NODE_TYPES[node], "n": 2}
    layers = [make_layer("random", shape=(3, 4, 4), kernel_size=3, padding=1, output_size=8, **options)]
    for _ in range(2):
        layers.append(make_layer("tree", shape=layers[-1].output_shape, **options))
    layers.append(make_layer("pool", shape=layers[-1].output_shape, **pooling))
    layers.append(make_layer("random", shape=(layers[-1].out_features,), output_size=8, **options))
    return LUTNetwork(None, layers, GroupSum(2, 2.0))


@pytest.mark.parametrize("pooling", [{}, {"operation": "and"}, {"stride": 1}])
@pytest.mark.parametrize("node,count", [("difflogic", 1), ("light", 1), ("probabilistic", 1), ("dwn", 0)])
def test_trees_run_as_one_operation(monkeypatch, node, count, pooling):
    network, x, called = trees(node, **pooling), torch.rand(9, 48), []

    def counted(*args, one=kernels.multilinear_tree, **kwargs):
        called.append(args[3])
        return one(*args, **kwargs)

    monkeypatch.setattr(kernels, "multilinear_tree", counted)
    assert_same(network, x)
    assert called == count * [(1, 1) if pooling else (2, 2)]
    network.eval()
    assert_same(network, x)
    assert len(called) == count
    network.train().layers[1].register_forward_hook(lambda module, inputs, output: None)
    assert_same(network, x)
    assert len(called) == count


def paths(node="dwn", pooling=None, **head):
    """Two convolutions, of which the second reads the image too, their maximum, pooling and dense layers."""
    options = {"node_type": NODE_TYPES[node], "n": 4}
    convolution = {"kernel_size": 3, "padding": 1, "output_size": 6, **options}
    layers = [
        make_layer("random", shape=(3, 4, 4), name="a", **convolution),
        make_layer("random", shape=(9, 4, 4), reads=["encoder", "a"], **convolution),
        LAYERS["merge"]((12, 4, 4), ["a", "1"], name="joined"),
        make_layer("pool", shape=(6, 4, 4), **(pooling or {})),
        make_layer("random", shape=(24,), output_size=16, **options),
        make_layer("random", shape=(112,), output_size=8, reads=["4", "joined"], **options),
    ]
    return LUTNetwork(None, layers, GroupSum(2, 2.0, **head))


@pytest.mark.parametrize(
    ("options", "trained", "hooked", "evaluated"),  # and how many layers each operation has
    [
        ({}, [6], [3, 2], [6]),
        ({"pooling": {"operation": "and"}}, [6], [3, 2], [6]),
        ({"pooling": {"relaxation": "smoothed"}}, [6], [3, 2], [6]),
        ({"pooling": {"relaxation": "multilinear"}}, [3, 2], [3, 2], [6]),
        ({"reads": ["4", "5"]}, [6], [3, 2], [6]),
        ({"reads": ["4"]}, [5], [3, 1], [5]),  # and nobody reads the last layer
        ({"node": "dwn_stable"}, [2, 2], [2, 2], [6]),  # it trains with values, whose maximum is no operation on bits
        ({"node": "probabilistic"}, [], [], [6]),
    ],
)
def test_hard_layers_and_maxima_of_bits_run_as_one_operation(monkeypatch, options, trained, hooked, evaluated):
    network, x, called = paths(**options), torch.rand(9, 48).round(), []

    def counted(*args, one=kernels.lookup_graph, **kwargs):
        called.append(len(args[1]))
        return one(*args, **kwargs)

    monkeypatch.setattr(kernels, "lookup_graph", counted)
    assert_same(network, x)
    assert called == trained
    called.clear()
    network.eval()
    assert_same(network, x)
    assert called == evaluated
    called.clear()
    network.train().layers[3].register_forward_hook(lambda module, inputs, output: None)
    assert_same(network, x)
    assert called == hooked


def test_skips_and_several_heads_are_read_by_name():
    options = {"node_type": NODES["dwn"], "n": 3}
    layers = [
        make_layer("random", shape=(3, 4, 4), kernel_size=3, padding=1, output_size=6, name="a", **options),
        make_layer("random", shape=(9, 4, 4), kernel_size=1, output_size=6, reads=["encoder", "a"], **options),
        LAYERS["merge"]((12, 4, 4), ["a", "1"]),
        make_layer("random", shape=(96,), output_size=8, name="head", **options),
    ]
    network = LUTNetwork(None, layers, GroupSum(2, 2.0, reads=["1", "head"]))
    assert network.graph.sources == [(-1,), (-1, 0), (0, 1), (2,)] and network.head_sources == (1, 3)
    x = torch.rand(7, 48).round()
    assert_same(network, x)
    network.eval()
    assert_same(network, x)
    a, one, merged, head = (layer.out_features for layer in layers)
    assert (a, one, merged, head) == (96, 96, 96, 8)
    ones = [output.view(7, 2, -1).sum(2) for output in outputs_of(network, x)]
    torch.testing.assert_close(network(x), (ones[1] + ones[3]) / 2)


@pytest.mark.parametrize(
    ("names", "reads", "message"),
    [
        (["a", "a"], [None, None], r"layers\[1\] has the name 'a' of an earlier source"),
        (["encoder", None], [None, None], "name 'encoder' of an earlier source"),
        ([None, None], [None, ["b"]], r"layers\[1\] reads 'b', which is no source before it; known: encoder, 0"),
        ([None, "b"], [["b"], None], "reads 'b', which is no source before it; known: encoder"),
        ([None, "b"], [None, ["b"]], "reads 'b', which is no source before it"),
        ([None, None], [None, []], r"reads=\[\] must name at least one source"),
    ],
)
def test_sources_that_are_not_there_are_an_error(names, reads, message):
    layers = [make_layer("random", shape=(30,), name=name, reads=read) for name, read in zip(names, reads, strict=True)]
    with pytest.raises(ValueError, match=message):
        LUTNetwork(None, layers)


def test_an_image_is_features_too_but_no_image_of_another_shape():
    options = {"node_type": "dwn", "n": 2}
    image = make_layer("random", shape=(3, 6, 6), kernel_size=3, output_size=8, **options)
    features = make_layer("random", shape=(128,), output_size=128, **options)
    other = make_layer("random", shape=(2, 8, 8), kernel_size=2, **options)
    LUTNetwork(None, [image, features, other])
    with pytest.raises(ValueError, match=r"input_size=\[2, 8, 8\], but layers\[0\] has output_size=\[8, 4, 4\]"):
        LUTNetwork(None, [image, other])


def test_a_hook_on_all_modules_is_called():
    network, x, called = build("random", "dwn"), torch.rand(9, 48).round(), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: called.append(module))
    try:
        network(x)
    finally:
        handle.remove()
    assert {*network.layers} <= {*called}


@pytest.mark.needs("c++")
def test_bits_stay_packed_between_learned_wirings(monkeypatch):
    options = {"node_type": "dwn", "n": 4, "top_k": 5}
    convolution = {"shape": (3, 4, 4), "kernel_size": 3, "padding": 1, "output_size": 8, **options}
    layers = [make_layer("learnable", **convolution), make_layer("pool", shape=(8, 4, 4))]
    layers += [make_layer("learnable", shape=(32,), output_size=width, **options) for width in (32, 16)]
    network, x, runs = LUTNetwork(None, layers, GroupSum(2, 3.0)), kernels.mark_bits(torch.rand(9, 48).round()), []
    expected = one_by_one(network, x)
    look_up = kernels.lookup_graph
    monkeypatch.setattr(kernels, "lookup_graph", lambda x, banks, *rest, **options: (
        runs.append(len(banks)) or look_up(x, banks, *rest, **options)
    ))  # fmt: skip
    torch.testing.assert_close(network.classify(x), expected)
    assert runs == [4]
    layers[1].register_forward_hook(lambda module, inputs, output: None)
    torch.testing.assert_close(network.classify(x), expected)
    assert runs == [4, 1, 2]


def test_settled_wirings_pass_gradients_to_what_they_read():
    network, x = build("learnable", "dwn"), torch.rand(9, 48).round()
    tested = network.layers[2]
    tested.tau = 10.0  # a wiring that learns would spread gradients over all inputs
    tested.logits.requires_grad_(False)
    needed = [*network.layers[1].parameters(), tested.node.values, *network.layers[3].parameters()]
    found, expected = (
        torch.autograd.grad(compute(x), needed, torch.randn(9, 2, generator=torch.Generator().manual_seed(1)))
        for compute in (network.classify, lambda x: one_by_one(network, x))
    )
    torch.testing.assert_close(found, expected)


def chain(node, widths=(16, 8, 4), **options):
    """Dense layers, of which each reads every output of the one before once."""
    layers, width = [], 16
    for each in widths:
        layers.append(make_layer("random", shape=(width,), output_size=each, node_type=node, n=2, seed=each, **options))
        width = each
    return LUTNetwork(None, layers, GroupSum(2, 2.0))


@pytest.mark.parametrize("node,count", [("difflogic", 3), ("light", 3), ("probabilistic", 3), ("dwn", 0)])
def test_dense_layers_run_as_one_operation(monkeypatch, node, count):
    network, x, called = chain(NODE_TYPES[node]), torch.rand(9, 16), []

    def counted(*args, one=kernels.multilinear_chain, **kwargs):
        called.append(len(args[1]))
        return one(*args, **kwargs)

    monkeypatch.setattr(kernels, "multilinear_chain", counted)
    assert_same(network, x)
    assert called == [count] * (count > 0)
    network.train().layers[1].register_forward_hook(lambda module, inputs, output: None)
    assert_same(network, x)
    assert called == [count] * (count > 0)


@pytest.mark.parametrize("options", [{}, {"noise": True}, {"straight_through": True}])
@pytest.mark.parametrize("name", [None, "soft_table", "training_table"])
def test_gates_with_a_table_of_their_own_keep_it(name, options):
    base = NODE_TYPES["difflogic"]
    own = {} if name is None else {name: lambda self: getattr(base, name)(self) / 2}
    network = chain(type("Own", (base,), own), node_kwargs=options)
    assert (network.layers[0].node.mixture() is None) == bool(name or options)
    if "noise" not in options:
        assert_same(network, torch.rand(9, 16))
