import copy

import pytest
import torch

from difflut import kernels
from difflut.layers import LayerConfig
from difflut.layers.noise import flip_bits
from difflut.nodes import NodeConfig
from difflut.registry import LAYERS, NODES
from tests.layers.making import WIRED, make_layer, needs_image


def make(layer_type="random", node_type="dwn_stable", **options):
    return make_layer(layer_type, node_type, **options)


def bits(batch=64):
    return torch.rand(batch, 48, generator=torch.Generator().manual_seed(0)).round()


@pytest.mark.parametrize("layer_type", LAYERS)
def test_a_layer_maps_features_to_features(layer_type):
    layer = make(layer_type)
    assert layer(bits()).shape == (64, layer.out_features)
    assert set(layer.eval()(bits()).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("layer_type", WIRED)
def test_a_layer_of_nodes_with_several_outputs_has_fewer_of_them(layer_type):
    layer = make(layer_type, node_kwargs=NodeConfig(input_dim=4, output_dim=3))
    assert layer.node.num_nodes == 10 and layer.wiring().shape == (10, 4)


@pytest.mark.parametrize("options", [{}, {"kernel_size": (2, 1)}], ids=str)
@pytest.mark.parametrize("layer_type", LAYERS)
def test_evaluation_reads_through_the_wiring(layer_type, options):
    layer = make(layer_type, **options).eval()
    x, hard = bits(), layer.hard()
    rows, placements = hard.placements.rows(hard.wiring), hard.placements.count
    expected = torch.empty(64, layer.out_features)
    for node in range(hard.num_tables):
        for place in range(placements):
            for row in range(64):
                address = sum(int(x[row, pin]) << j for j, pin in enumerate(rows[node, :, place]))
                expected[row, node * placements + place] = hard.tables[node, 0, address]
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("layer_type", LAYERS)
def test_the_seed_decides_wiring_and_nodes_and_leaves_the_global_generator_alone(layer_type):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again = make(layer_type), make(layer_type)
    assert torch.equal(torch.get_rng_state(), before)
    for old, new in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(old, new)


def drawn(layer_type, seed=None):
    return LAYERS[layer_type](48, 30, NODES["dwn"], n=4, seed=seed).wiring()


@pytest.mark.parametrize("layer_type", WIRED)
def test_layers_without_a_seed_differ_and_follow_the_global_one(layer_type):
    def pair():
        torch.manual_seed(5)
        return [drawn(layer_type) for _ in range(2)]

    first, second = pair()
    # A wiring that is the same for every seed is so without one.
    assert torch.equal(first, second) == torch.equal(drawn(layer_type, seed=1), drawn(layer_type, seed=2))
    assert all(torch.equal(old, new) for old, new in zip((first, second), pair(), strict=True))


@pytest.mark.parametrize("layer_type", ["random", "learnable"])
def test_wirings_that_are_drawn_differ_by_their_seeds(layer_type):
    assert not torch.equal(drawn(layer_type, seed=1), drawn(layer_type, seed=2))


def test_the_wiring_is_saved():
    layer = make()
    other = LAYERS["random"](48, 30, NODES["dwn_stable"], n=4, seed=4)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.eval()(bits()), other.eval()(bits()))


def test_bits_flip_with_their_probability_in_training_only():
    layer = make(layer_config=LayerConfig(flip_probability=0.25), node_type="linear_lut")
    with torch.no_grad():
        # Each node copies its first input.
        table = torch.empty_like(layer.node.soft_table())
        table.copy_((torch.arange(16) % 2).expand_as(table))
        layer.node.load_table(table)
    x = bits(4000)
    copied = x[:, layer.wiring()[:, 0]]
    flipped = (layer(x).round() != copied).double().mean().item()
    # 120,000 draws: a standard deviation of 0.00125.
    assert flipped == pytest.approx(0.25, abs=0.01)
    assert torch.equal(layer.eval()(x), copied)


def test_a_layer_can_ask_for_the_nearest_number_of_inputs_that_its_type_may_have():
    for name, node_type in NODES.items():
        layer = LAYERS["random"](40, 10, node_type, node_kwargs=NodeConfig(input_dim=4, nearest=True))
        assert layer.n == node_type.nearest_inputs(4) and layer(torch.rand(64, 40).round()).shape[1] == 10, name
    with pytest.raises(ValueError, match="a node may have 2 inputs, got input_dim=4"):
        LAYERS["random"](40, 10, NODES["difflogic"], node_kwargs=NodeConfig(input_dim=4))


def test_flipped_bits_are_bits():
    assert kernels.holds_bits(flip_bits(kernels.mark_bits(bits()), 0.25))
    assert not kernels.holds_bits(flip_bits(bits(), 0.25))


def test_the_gradient_ignores_flips():
    x = bits().requires_grad_()
    layer = make(layer_config=LayerConfig(flip_probability=1.0), node_type="linear_lut")
    layer(x).sum().backward()
    complement = (1 - x).detach().requires_grad_()
    plain = make(node_type="linear_lut")
    plain(complement).sum().backward()
    torch.testing.assert_close(x.grad, complement.grad)


@pytest.mark.parametrize("mode", ["layerwise", "batchwise"])
@pytest.mark.parametrize("subtract_mean", [False, True])
def test_gradient_stabilisation_rescales_what_reaches_the_nodes(mode, subtract_mean):
    config = LayerConfig(grad_stabilization=mode, grad_target_std=0.5, grad_subtract_mean=subtract_mean)
    layer, plain = make(layer_config=config), make()
    upstream = 1e-4 * torch.randn(64, 30, generator=torch.Generator().manual_seed(1)) + 3e-4
    dims = (0, 1) if mode == "layerwise" else 1
    expected = upstream - upstream.mean(dims, keepdim=True) if subtract_mean else upstream
    expected = expected * 0.5 / expected.std(dims, keepdim=True, correction=0)
    layer(bits()).backward(upstream)
    plain(bits()).backward(expected)
    torch.testing.assert_close(layer.node.logits.grad, plain.node.logits.grad, rtol=1e-3, atol=1e-5)


def test_a_constant_gradient_stays_as_it_is():
    config = LayerConfig(grad_stabilization="batchwise")
    layer, plain = make(layer_config=config), make()
    layer(bits()).backward(torch.full((64, 30), 0.5))
    plain(bits()).backward(torch.full((64, 30), 0.5))
    assert torch.equal(layer.node.logits.grad, plain.node.logits.grad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 6, "node_kwargs": {"input_dim": 4}}, r"n=6 needs nodes of 6 inputs, got input_dim=4"),
        ({"input_size": 0}, "input_size=0"),
        ({"input_size": [2, 0, 4]}, r"input_size=\[2, 0, 4\] must be at least 1: a number of features, or \(channels"),
        ({"output_size": 31, "node_kwargs": {"output_dim": 2}}, "width=31 is not a positive multiple of output_dim=2"),
        ({"layer_config": {"flip_probability": 1.5}}, "flip_probability=1.5"),
        (
            {"layer_config": {"grad_stabilization": "layer"}},
            "grad_stabilization='layer' must be one of none, layerwise",
        ),
        ({"layer_config": {"grad_target_std": 0}}, "grad_target_std=0"),
        ({"layer_config": {"grad_target_std": 0.5}}, "grad_target_std=0.5 need grad_stabilization"),
        ({"layer_config": {"grad_subtract_mean": True}}, "grad_subtract_mean=True .* need grad_stabilization"),
        ({"node_kwargs": {"init_kwargs": {"a": 0.2}}}, r"DWN: init_kwargs=\{'a': 0.2\} needs init_fn"),
        ({"stride": 2}, "stride=2 and padding=0 need kernel_size"),
        ({"padding": (0, 1)}, r"padding=\(0, 1\) need kernel_size"),
        ({"together": 2}, "together=2 needs window, channels_per_node or groups"),
        ({"input_size": [4, 5, 5], "kernel_size": [3, 3, 3]}, r"kernel_size=\[3, 3, 3\] must be 1 or more: one number"),
        ({"input_size": [4, 5, 5], "kernel_size": 0}, "kernel_size=0 must be 1 or more"),
        ({"input_size": [4, 5, 5], "kernel_size": 3, "stride": (1, 0)}, r"stride=\(1, 0\) must be 1 or more"),
        ({"input_size": [4, 5, 5], "kernel_size": 3, "padding": -1}, "padding=-1 must be 0 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LAYERS["random"](**{"input_size": 40, "output_size": 30, "node_type": NODES["dwn"]} | arguments)


def test_a_pooling_window_of_too_many_pixels_is_named():
    with pytest.raises(ValueError, match=r"kernel_size=\(2, 5\) has 10 pixels; pooling takes 8 at most"):
        LAYERS["pool"]([3, 6, 6], kernel_size=(2, 5))


@pytest.mark.parametrize("n", [3, 0, -2])
def test_a_tree_of_another_number_of_inputs_is_named(n):
    with pytest.raises(ValueError, match=f"n={n} must be 1 or more, and divide the 8 inputs of a tree"):
        LAYERS["tree"]([8, 3, 3], node_type="dwn", n=n)


@pytest.mark.parametrize("layer_type", LAYERS)
def test_an_image_of_one_pixel_stays_an_image(layer_type):
    layer = make(layer_type, "dwn", shape=(4, 1, 1), output_size=5, n=2, kernel_size=1)
    assert layer.output_shape == (layer.output_size, 1, 1)
    behind = LAYERS["random"](layer.output_shape, 6, NODES["dwn"], 2, kernel_size=3, padding=1)
    assert behind.eval()(layer.eval()(torch.rand(7, layer.in_features).round())).shape == (7, 6)


@pytest.mark.parametrize("layer_type", LAYERS)
@pytest.mark.parametrize("shape", [(16,), (4, 2, 2)])
def test_what_a_layer_has_of_a_convolution_are_sizes(layer_type, shape):
    """Tools that describe modules, such as torchinfo, read these attributes wherever they are."""
    if len(shape) == 1 and needs_image(layer_type):
        pytest.skip("needs an image")
    kernel = {"kernel_size": 2} if len(shape) == 3 else {}
    layer = make(layer_type, "dwn", shape=shape, output_size=6, **kernel)
    for name in ("kernel_size", "stride", "padding"):
        assert isinstance(getattr(layer, name, 1), int | list | tuple)
    assert hasattr(layer, "kernel_size") == (len(shape) == 3)


@pytest.mark.parametrize("sources", [1, 9])
def test_a_merge_needs_two_to_eight_sources(sources):
    reads = [f"source{number}" for number in range(sources)]
    with pytest.raises(ValueError, match="merge: two to eight sources are needed"):
        LAYERS["merge"](dict.fromkeys(reads, (4,)), reads=reads)


@pytest.mark.parametrize("other", [(8, 2, 2), (6, 4, 4), (32,)])
def test_a_merge_needs_sources_of_one_shape(other):
    sources = {"first": (2, 4, 4), "second": other}
    with pytest.raises(ValueError, match=r"reads=\['first', 'second'\] of shapes \[\(2, 4, 4\), "):
        LAYERS["merge"](sources, reads=[*sources])


def test_an_input_of_another_width_is_named():
    with pytest.raises(ValueError, match=r"input_size=48, got an input of shape \(2, 49\)"):
        make()(torch.rand(2, 49))


@pytest.mark.parametrize("layer_type", LAYERS)
def test_layers_can_be_copied(layer_type):
    layer = make(layer_type)
    assert torch.equal(copy.deepcopy(layer).eval()(bits()), layer.eval()(bits()))
