from functools import partial

import pytest
import torch

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


def test_a_width_that_the_classes_do_not_divide_is_an_error():
    layer = partial(LAYERS["random"], output_size=31, node_type=NODES["dwn"], n=4)
    with pytest.raises(ValueError, match="output_size=31 is not a multiple of the 3 classes"):
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
