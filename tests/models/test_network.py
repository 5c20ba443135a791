from functools import partial

import pytest
import torch

from difflut.circuits import Circuit
from difflut.layers import GroupSum
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES


def build(seed=0, **options):
    layer = partial(LAYERS["random"], output_size=30, node_type=NODES["dwn"], n=4)
    encoder = ENCODERS["thermometer"](num_bits=2)
    return network(input_shape=(3, 5), num_classes=3, encoder=encoder, layers=[layer] * 3, seed=seed, **options)


def test_widths_follow_from_the_data_and_seeds_from_one():
    model = build()
    assert [layer.input_size for layer in model.layers] == [30, 30, 30]
    wirings = [layer.wiring() for layer in model.layers]
    assert not torch.equal(wirings[0], wirings[1]) and not torch.equal(wirings[1], wirings[2])
    assert all(torch.equal(a.wiring(), b) for a, b in zip(build().layers, wirings, strict=True))
    assert not torch.equal(build(seed=1).layers[0].wiring(), wirings[0])


def test_images_and_flat_rows_give_the_same_classes():
    model = build().eval()
    images = torch.randint(256, (40, 3, 5), dtype=torch.uint8)
    model.encoder.fit(images)
    assert torch.equal(model(images), model(images.flatten(1)))


def test_an_unfitted_encoder_is_an_error():
    with pytest.raises(RuntimeError, match="not fitted"):
        build()(torch.rand(2, 3, 5))


def test_a_network_without_layers_is_an_error():
    with pytest.raises(ValueError, match=r"network\.layers must be a list of at least one layer"):
        network((3, 5), 3, ENCODERS["thermometer"](num_bits=2), [])


def test_a_layer_that_does_not_fit_is_named():
    first = partial(LAYERS["random"], output_size=6, node_type=NODES["dwn"], n=4, kernel_size=2)
    with pytest.raises(ValueError, match=r"layers\[1\]: kernel_size=5: .* does not fit an image of height=2"):
        network((3, 5), 3, ENCODERS["thermometer"](num_bits=2), [first, partial(first, kernel_size=5)])


def test_a_width_that_the_classes_do_not_divide_is_an_error():
    layer = partial(LAYERS["random"], output_size=31, node_type=NODES["dwn"], n=4)
    with pytest.raises(ValueError, match="31 features cannot be divided into k=3 equal groups"):
        network((15,), 3, ENCODERS["thermometer"](num_bits=2), [layer])


def test_bits_need_no_encoder():
    model = LUTNetwork(None, [LAYERS["random"](8, 4, NODES["hybrid"], n=2)], GroupSum(2))
    assert model(torch.rand(5, 8).round()).shape == (5, 2)


@pytest.mark.parametrize("moving", [{"tau": 2.0, "learn_tau": True}, {"tau": 6.0, "tau_end": 2.0, "tau_steps": 1}])
def test_a_tau_that_moves_divides_as_a_fixed_one_does(moving):
    x = torch.rand(20, 8).round()
    layers = [LAYERS["random"](8, 12, NODES["dwn"], n=3, seed=1)]
    fixed, free = LUTNetwork(None, layers, GroupSum(3, tau=2.0)), LUTNetwork(None, layers, GroupSum(3, **moving))
    torch.testing.assert_close(free(x), fixed(x))
    torch.testing.assert_close(free.eval()(x), fixed.eval()(x))
    assert free.groupsum.present_tau == pytest.approx(2.0)


def test_images_of_another_layout_are_refused():
    x = torch.rand(30, 4, 5, 3)
    encoder = ENCODERS["thermometer"](2).fit(x)
    model = LUTNetwork(encoder, [LAYERS["random"](120, 12, NODES["dwn"], n=4, seed=1)], GroupSum(3)).eval()
    assert torch.equal(model(x), model(x.flatten(1)))
    for other in (x.permute(0, 3, 1, 2), x.permute(0, 2, 1, 3)):
        with pytest.raises(ValueError, match=r"fitted on 60 features of shape \(4, 5, 3\)"):
            model(other)


def bits_network(node="dwn", layer="random", seed=1, **options):
    torch.manual_seed(seed)
    layers = [
        LAYERS[layer](12, 60, NODES[node], n=2, seed=1, **options),
        LAYERS["random"](60, 30, NODES[node], n=2, seed=2),
    ]
    return LUTNetwork(None, layers, GroupSum(3, 2.0))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.bool]
)
def test_without_an_encoder_inputs_of_any_type_are_bits_as_in_the_circuit(dtype):
    model = bits_network().eval()
    near = 0.5 + torch.randint(-4, 5, (400, 12), dtype=torch.float64) * 2.0 ** -torch.randint(20, 50, (400, 12))
    x = near.to(dtype)
    assert torch.equal(model(x), torch.from_numpy(Circuit.from_model(model)(x.float().numpy())))
    assert model(x).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_votes_are_counted_exactly_in_any_type(dtype):
    layer = LAYERS["random"](12, 6006, NODES["dwn"], n=2, seed=1)
    with torch.no_grad():
        layer.node.values.fill_(1)
    x = torch.randint(2, (5, 12)).to(dtype)
    assert LUTNetwork(None, [layer], GroupSum(2)).eval()(x).tolist() == [[3003.0, 3003.0]] * 5
    assert GroupSum(2)(torch.ones(5, 6006, dtype=dtype)).tolist() == [[3003.0, 3003.0]] * 5


WIRINGS = [("random", {}), ("learnable", {}), ("learnable", {"top_k": 4}), ("learnable", {"selection": "soft"})]


@pytest.mark.parametrize("layer,options", WIRINGS)
@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("training", [True, False])
def test_a_batch_of_no_rows_gives_no_logits(node, layer, options, training):
    model = bits_network(node, layer, **options).train(training)
    y = model(torch.empty(0, 12))
    assert y.shape == (0, 3)
    if training:
        y.sum().backward()
        assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("layer,options", WIRINGS)
@pytest.mark.parametrize("node", NODES)
def test_autocast_changes_neither_tables_nor_training(node, layer, options):
    model, x, y = bits_network(node, layer, **options), torch.rand(80, 12).round(), torch.randint(3, (80,))

    def all_of_it(enabled):
        torch.manual_seed(4)
        for module in model.modules():
            if hasattr(module, "steps"):
                module.steps.zero_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = model.train()(x)
            results = [logits, torch.nn.functional.cross_entropy(logits, y), model.eval()(x)]
            for each in model.layers:
                results += [each.node.soft_table(), each.hard().tables, each.wiring()]
        model.zero_grad()
        results[1].backward()
        return results + [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for with_autocast, without in zip(all_of_it(True), all_of_it(False), strict=True):
        assert torch.equal(with_autocast, without)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("encoder", [None, "thermometer"])
@pytest.mark.parametrize("node", NODES)
def test_a_network_of_another_type_trains(node, encoder, dtype):
    x = torch.rand(40, 12)
    encoder = encoder and ENCODERS[encoder](1).fit(x)
    model = LUTNetwork(encoder, list(bits_network(node).layers), GroupSum(3)).to(dtype)
    logits = model(x.to(dtype))
    logits.square().sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in model.parameters())
    torch.manual_seed(1)
    x = x if encoder else x.to(dtype).double()
    torch.testing.assert_close(logits.double(), model.double()(x.double()), rtol=0.05, atol=0.1)


def test_a_convolution_counts_its_tables_and_bits_once_and_its_look_ups_at_every_window():
    conv = partial(LAYERS["learnable"], output_size=8, node_type=NODES["dwn"], n=3, kernel_size=3, stride=2)
    head = partial(LAYERS["random"], output_size=12, node_type=NODES["dwn"], n=4)
    encoder = ENCODERS["thermometer"](num_bits=2)
    model = network((9, 7), 3, encoder, [conv, partial(LAYERS["pool"], kernel_size=2), head])
    assert model.num_luts == 8 + 8 + 12
    assert model.num_lookups == 8 * 4 * 3 + 8 * 2 * 1 + 12
    # A pin of the convolution reads one of 18 bits, of the head one of 16; a pool has nothing to learn.
    assert model.num_bits == 8 * (2**3 + 3 * 5) + 12 * (2**4 + 4 * 4)


@pytest.mark.parametrize("reads", [["encoder"], ["conv"], ["small"]])
def test_windows_of_pixels_are_refused_where_channels_come_first(reads):
    images = torch.rand(20, 6, 5, 2)
    fitted = ENCODERS["thermometer"](num_bits=2).fit(images)
    layer = partial(LAYERS["random"], node_type=NODES["dwn"], n=4)
    windows = partial(layer, output_size=30, image_shape=(6, 5), window=3)
    network((6, 5, 2), 3, fitted, [windows, partial(layer, output_size=30)])  # as an encoder gives them
    conv = partial(layer, output_size=6, kernel_size=3, padding=1, name="conv")
    small = partial(layer, output_size=60, name="small", reads=["conv"])
    head = partial(windows, reads=reads)
    if reads == ["small"]:
        network((6, 5, 2), 3, fitted, [conv, small, head])
        return
    with pytest.raises(ValueError, match=r"layers\[2\]: image_shape=\(6, 5\) counts features pixel by pixel"):
        network((6, 5, 2), 3, fitted, [conv, small, head])
