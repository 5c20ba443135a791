import copy
import math
import pickle

import numpy as np
import pytest
import torch

from difflut.encoders import Thermometer
from difflut.encoders import encoder as encoder_module
from difflut.registry import ENCODERS

every_encoder = pytest.mark.parametrize("name", ENCODERS)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def expected_bits(encoder, x):
    x = x.float().flatten(1)
    level = (x.unsqueeze(-1) > encoder.thresholds).sum(dim=-1)
    return encoder.codebook[level].float()


@every_encoder
@pytest.mark.parametrize("feature_wise", [True, False])
@pytest.mark.parametrize("num_bits", [1, 3, 6])
@pytest.mark.parametrize("searched", [True, False])
def test_bits_are_the_code_of_the_level(name, feature_wise, num_bits, searched, monkeypatch):
    if searched:
        monkeypatch.setattr(encoder_module, "COUNTED_COMPARISONS", -1)
    encoder = ENCODERS[name](num_bits, feature_wise=feature_wise).fit(random(300, 7))
    some = torch.nn.functional.pad(encoder.thresholds, (0, 1))[:, :1]  # one-hot code of 1 bit has none
    x = torch.cat([random(40, 7, seed=1), some.t().expand(1, 7)])  # the last row lies on thresholds
    bits = encoder(x)
    assert bits.dtype == torch.float32 and bits.shape == (41, 7 * num_bits) and bits.is_contiguous()
    assert torch.equal(bits, expected_bits(encoder, x).flatten(1))


@every_encoder
def test_thresholds_are_sorted_float32(name):
    encoder = ENCODERS[name](4).fit(random(300, 2, 3))
    levels = len(encoder.codebook)
    assert encoder.thresholds.dtype == torch.float32 and encoder.thresholds.shape == (6, levels - 1)
    assert (encoder.thresholds.diff(dim=1) > 0).all()
    assert encoder.feature_shape == (2, 3) and encoder.output_size == 24
    assert ENCODERS[name](4, feature_wise=False).fit(random(300, 6)).thresholds.shape == (1, levels - 1)


@every_encoder
@pytest.mark.parametrize("feature_wise", [True, False])
def test_images_and_flat_rows_agree(name, feature_wise):
    images = random(50, 4, 5, 3)
    on_images = ENCODERS[name](3, feature_wise=feature_wise).fit(images)
    on_rows = ENCODERS[name](3, feature_wise=feature_wise).fit(images.flatten(1))
    expected = on_rows(images.flatten(1))
    assert torch.equal(on_images.thresholds, on_rows.thresholds)
    for encoder in (on_images, on_rows):
        assert torch.equal(encoder(images), expected)
        assert torch.equal(encoder(images.flatten(1)), expected)
        assert torch.equal(encoder(images.unsqueeze(1)), expected)
    unflattened = ENCODERS[name](3, flatten=False, feature_wise=feature_wise).fit(images)
    assert unflattened(images).shape == (50, 4, 5, 3, 3)
    assert unflattened(images.flatten(1)).shape == (50, 60, 3)
    assert torch.equal(unflattened(images).flatten(1), expected)


@every_encoder
def test_bytes_and_floats_agree(name):
    x = torch.randint(0, 256, (80, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    encoder = ENCODERS[name](4).fit(x)
    for other in (x.float(), x.double(), x.int(), x.numpy(), x.numpy().astype(">f8"), x.numpy()[::-1]):
        assert torch.equal(ENCODERS[name](4).fit(other).thresholds, encoder.thresholds)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.int64):
        assert torch.equal(encoder(x.to(dtype)), encoder(x))


@every_encoder
def test_strided_input_is_read_in_order(name):
    x = random(30, 5, 6)
    permuted, packed = x.permute(0, 2, 1), x.permute(0, 2, 1).contiguous()
    encoder = ENCODERS[name](5).fit(permuted)
    assert torch.equal(encoder.thresholds, ENCODERS[name](5).fit(packed).thresholds)
    assert torch.equal(encoder(permuted), encoder(packed))
    assert torch.equal(encoder(packed[::2]), encoder(packed)[::2])


@every_encoder
@pytest.mark.parametrize("num_bits", [3, 8])
def test_nan_has_level_0_and_infinities_the_extremes(name, num_bits):
    encoder = ENCODERS[name](num_bits).fit(random(100, 1))
    book = encoder.codebook.float()
    nan, low, high = encoder(torch.tensor([[math.nan], [-math.inf], [math.inf]]))
    assert torch.equal(nan, book[0]) and torch.equal(low, book[0]) and torch.equal(high, book[-1])


@every_encoder
@pytest.mark.parametrize("value", [0.1, 0.0, -7.3])
def test_constant_feature_has_a_defined_code(name, value):
    encoder = ENCODERS[name](3, flatten=False).fit(torch.full((1000, 1), value))
    at, below, above = encoder(torch.tensor([[value], [value - 20], [value + 20]])).squeeze(1)
    book = encoder.codebook.float()
    assert torch.equal(below, book[0]) and torch.equal(above, book[-1])
    assert torch.equal(at, book[-1] if name == "sign_magnitude" and value > 0 else book[0])


@every_encoder
def test_unfitted_encoder_says_how_to_fit_it(name):
    encoder = ENCODERS[name]()
    assert not encoder.fitted and "not fitted" in repr(encoder)
    message = rf"{type(encoder).__name__} is not fitted; call encoder.fit\(training_inputs\) first"
    with pytest.raises(RuntimeError, match=message):
        encoder(random(2, 3))
    with pytest.raises(RuntimeError, match=message):
        _ = encoder.output_size


@every_encoder
def test_wrong_width_names_both_numbers(name):
    encoder = ENCODERS[name]().fit(random(20, 4, 6))
    with pytest.raises(ValueError, match=r"fitted on 24 features of shape \(4, 6\); got 25 of shape \(25,\)"):
        encoder(random(2, 25))


def test_permuted_axes_are_refused():
    encoder = Thermometer().fit(random(20, 4, 6))
    with pytest.raises(ValueError, match=r"shape \(4, 6\); got 24 of shape \(6, 4\)"):
        encoder(random(2, 6, 4))


@every_encoder
def test_state_dict_carries_everything(name):
    encoder = ENCODERS[name](3).fit(random(60, 2, 4))
    model = torch.nn.Sequential(ENCODERS[name](3))
    model.load_state_dict(torch.nn.Sequential(encoder).state_dict())
    x = random(9, 2, 4, seed=1)
    assert model[0].fitted and model[0].feature_shape == (2, 4)
    assert torch.equal(model(x), encoder(x))
    refitted = ENCODERS[name](3).fit(random(60, 5))
    refitted.load_state_dict(encoder.state_dict())
    assert torch.equal(refitted(x), encoder(x))


def test_state_dict_of_other_num_bits_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch for thresholds"):
        Thermometer(4).load_state_dict(Thermometer(3).fit(random(9, 2)).state_dict())


@every_encoder
def test_copies_and_pickles_agree(name):
    encoder = ENCODERS[name](3).fit(random(60, 4))
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(other(random(9, 4)), encoder(random(9, 4)))


@every_encoder
def test_get_params_rebuilds_the_encoder(name):
    encoder = ENCODERS[name](num_bits=5, flatten=False, feature_wise=False)
    params = encoder.get_params()
    rebuilt = type(encoder)(**params)
    assert rebuilt.get_params() == params and {"num_bits", "flatten", "feature_wise"} <= params.keys()
    assert "num_bits=5, flatten=False, feature_wise=False" in repr(rebuilt)
    x = random(50, 3)
    assert torch.equal(rebuilt.fit(x)(x), encoder.fit(x)(x))


def test_own_parameters_are_kept():
    assert ENCODERS["logarithmic"](base=3.0).get_params()["base"] == 3.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_casting_the_model_does_not_move_thresholds(dtype):
    encoder = Thermometer(5).fit(random(60, 4))
    before = encoder.thresholds.clone()
    assert torch.equal(torch.nn.Sequential(encoder).to(dtype)[0].thresholds, before)


def test_bits_carry_no_gradient():
    x = random(6, 4).requires_grad_()
    assert not Thermometer().fit(x)(x).requires_grad


def test_rows_may_be_numbers_and_batches_empty():
    encoder = Thermometer(2).fit(np.arange(10))
    assert encoder.feature_shape == () and encoder(torch.tensor([0, 5, 9])).tolist() == [[0, 0], [1, 0], [1, 1]]
    assert Thermometer(2).fit(random(5, 3))(random(0, 3)).shape == (0, 6)


@pytest.mark.cuda
@pytest.mark.cuda
@every_encoder
@pytest.mark.parametrize("num_bits", [3, 6])
@pytest.mark.parametrize("feature_wise", [True, False])
def test_cuda_agrees_with_cpu(name, num_bits, feature_wise):
    x, inputs = random(500, 9), random(64, 9, seed=1)
    on_cpu = ENCODERS[name](num_bits, feature_wise=feature_wise).fit(x)
    moved = copy.deepcopy(on_cpu).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        cuda_inputs = inputs.pin_memory().to("cuda", non_blocking=True)
        bits = moved(cuda_inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(bits.cpu(), on_cpu(inputs))
    fitted_there = ENCODERS[name](num_bits, feature_wise=feature_wise).cuda().fit(x.cuda())
    torch.testing.assert_close(fitted_there.thresholds.cpu(), on_cpu.thresholds)  # sums run in another order


@every_encoder
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_thresholds_of_channels_are_those_of_their_pooled_values(name, shape):
    images = random(50, *shape) * torch.arange(1, 1 + (*shape, 1)[2])  # channels of different scales
    encoder = ENCODERS[name](3, feature_wise="channels").fit(images)
    pooled = images.view(50 * 20, -1)
    expected = torch.cat([ENCODERS[name](3, feature_wise=False).fit(channel).thresholds for channel in pooled.t()])
    assert torch.equal(encoder.thresholds, expected.repeat(20, 1))
    assert torch.equal(encoder(images), expected_bits(encoder, images).flatten(1))
    batches = ENCODERS[name](3, feature_wise="channels").fit(iter(images.split(20)))
    assert torch.allclose(batches.thresholds, encoder.thresholds)


def test_thresholds_of_channels_need_images():
    with pytest.raises(ValueError, match=r"feature_wise='channels' need images .*; got \(7,\)"):
        Thermometer(3, feature_wise="channels").fit(random(20, 7))
