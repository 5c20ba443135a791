import math
from statistics import NormalDist

import pytest
import torch

from difflut.encoders import Encoder, SignMagnitude
from difflut.registry import ENCODERS

RAMP = torch.tensor([0.0, 3.0, 4.0, 8.0, 1.0]).unsqueeze(1)  # one feature from 0 to 8


def thresholds(name, x=RAMP, **params):
    return ENCODERS[name](**params).fit(x).thresholds[0]


def code(name, x, num_bits=3):
    return ENCODERS[name](num_bits).fit(RAMP)(torch.tensor([[x]])).int()[0].tolist()


@pytest.mark.parametrize(
    ("name", "num_bits", "expected"),
    [
        ("thermometer", 3, [2, 4, 6]),
        ("onehot", 4, [2, 4, 6]),
        ("binary", 2, [2, 4, 6]),
        ("gray", 3, [1, 2, 3, 4, 5, 6, 7]),
        ("sign_magnitude", 2, [-4, 0, 4]),
        ("sign_magnitude", 1, [0]),
        ("distributive_thermometer", 3, [1, 3, 4]),
        ("distributive_thermometer", 1, [3]),
        ("midpoint_thermometer", 4, [0.5, 2, 3.5, 6]),
        ("midpoint_thermometer", 6, [0.5, 2, 3.5, 6, 6, 6]),
        ("midpoint_thermometer", 2, [2, 3.5]),
    ],
)
def test_thresholds_of_a_ramp(name, num_bits, expected):
    assert thresholds(name, num_bits=num_bits).tolist() == expected


def test_midpoints_split_rows_evenly_and_separate_neighbouring_floats():
    values = torch.tensor([1.0, 5.0, 6.0, 7.0]).repeat_interleave(torch.tensor([50, 2, 48, 100]))
    assert thresholds("midpoint_thermometer", values.unsqueeze(1), num_bits=1).tolist() == [6.5]
    one = torch.tensor(1.0)
    neighbours = torch.stack([one, one.nextafter(2 * one), one.nextafter(2 * one).nextafter(2 * one)]).unsqueeze(1)
    encoder = ENCODERS["midpoint_thermometer"](2).fit(neighbours)
    assert encoder(neighbours).tolist() == [[0, 0], [1, 0], [1, 1]]


def test_midpoints_of_a_feature_do_not_depend_on_the_others():
    random = torch.Generator().manual_seed(5)
    steps = [1e-6, 0.02, 0.3, 2.0, 50.0]  # from no value twice to a single one
    columns = [torch.rand(90, 1, generator=random).div(step).floor() + 3 for step in steps]
    together = ENCODERS["midpoint_thermometer"](12).fit(torch.cat(columns, dim=1)).thresholds
    alone = [ENCODERS["midpoint_thermometer"](12).fit(column).thresholds for column in columns]
    assert torch.equal(together, torch.cat(alone))
    assert together[-2:].tolist() == [[3.0] * 12] * 2


def test_gaussian_thresholds_are_normal_quantiles():
    mean, std = RAMP.mean().item(), RAMP.std(correction=0).item()
    expected = [NormalDist(mean, std).inv_cdf(q) for q in (0.2, 0.4, 0.6, 0.8)]
    assert thresholds("gaussian_thermometer", num_bits=4).tolist() == pytest.approx(expected, rel=1e-6)  # float32


@pytest.mark.parametrize("base", [1.5, 2.0, 10.0])
def test_logarithmic_thresholds_are_geometric(base):
    expected = [8 * (base ** (i / 6) - 1) / (base - 1) for i in range(1, 6)]
    assert thresholds("logarithmic", num_bits=5, base=base).tolist() == pytest.approx(expected, rel=1e-6)  # float32


def test_logarithmic_spacing_grows_by_the_base_over_the_range():
    places = [0, *thresholds("logarithmic", num_bits=999, base=10.0).tolist(), 8]
    assert (places[-1] - places[-2]) / (places[1] - places[0]) == pytest.approx(10, rel=0.01)  # of finite steps


def test_sign_magnitude_range_follows_the_largest_magnitude():
    assert thresholds("sign_magnitude", torch.tensor([[-16.0], [2.0]]), num_bits=2).tolist() == [-8, 0, 8]


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("thermometer", 0.5, [0, 0, 0]),
        ("thermometer", 2.0, [0, 0, 0]),
        ("thermometer", 2.1, [1, 0, 0]),
        ("thermometer", 9.0, [1, 1, 1]),
        ("onehot", 0.0, [1, 0, 0]),
        ("onehot", 4.0, [0, 1, 0]),
        ("onehot", 8.0, [0, 0, 1]),
        ("binary", 0.5, [0, 0, 0]),
        ("binary", 1.5, [1, 0, 0]),
        ("binary", 6.5, [0, 1, 1]),
        ("gray", 1.5, [1, 0, 0]),
        ("gray", 2.5, [1, 1, 0]),
        ("gray", 7.5, [0, 0, 1]),
        ("sign_magnitude", 7.0, [0, 1, 1]),
        ("sign_magnitude", 2.5, [0, 1, 0]),
        ("sign_magnitude", 0.5, [0, 0, 0]),
        ("sign_magnitude", 0.0, [1, 0, 0]),
        ("sign_magnitude", -2.5, [1, 1, 0]),
        ("sign_magnitude", -99.0, [1, 1, 1]),
    ],
)
def test_code_of_a_value(name, x, expected):
    assert code(name, x) == expected


@pytest.mark.parametrize("num_bits", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ENCODERS)
def test_levels_have_different_codes(name, num_bits):
    book = ENCODERS[name](num_bits).codebook
    assert book.dtype == torch.uint8 and book.shape[1] == num_bits and book.max() == 1
    assert len(book.unique(dim=0)) == len(book)


@pytest.mark.parametrize("name", ["binary", "gray", "sign_magnitude"])
def test_positional_codes_use_every_word(name):
    assert len(ENCODERS[name](6).codebook) == 64


@pytest.mark.parametrize("name", ["gray", "thermometer"])
def test_neighbouring_levels_differ_in_one_bit(name):
    book = ENCODERS[name](7).codebook.int()
    assert (book[1:] - book[:-1]).abs().sum(dim=1).eq(1).all()


def test_onehot_sets_one_bit():
    assert ENCODERS["onehot"](9).codebook.sum(dim=1).eq(1).all()


def test_sign_magnitude_mirrors_negated_values():
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    encoder = SignMagnitude(6, flatten=False).fit(x)
    assert torch.equal(encoder(x)[..., 1:], encoder(-x)[..., 1:])
    assert torch.equal(encoder(x)[..., 0], (x <= 0).float())


@pytest.mark.parametrize("num_bits", [0, -3, 2.0, None])
@pytest.mark.parametrize("name", ENCODERS)
def test_impossible_num_bits_are_refused(name, num_bits):
    with pytest.raises(ValueError, match=f"num_bits.* must be a whole number|num_bits={num_bits} must be at least 1"):
        ENCODERS[name](num_bits)


@pytest.mark.parametrize("name", ["binary", "gray", "sign_magnitude"])
def test_positional_codes_limit_num_bits(name):
    assert ENCODERS[name](12).codebook.shape == (4096, 12)
    with pytest.raises(ValueError, match="12 at most; got 13"):
        ENCODERS[name](13)


@pytest.mark.parametrize("base", [1.0, 0.5, -2.0, math.inf, math.nan])
def test_impossible_base_is_refused(base):
    with pytest.raises(ValueError, match=f"base={base} must be (a finite number|greater than 1)"):
        ENCODERS["logarithmic"](base=base)


def test_a_new_encoder_is_its_code_book():
    class Parity(Encoder):
        def make_codebook(self):
            return (torch.arange(8).unsqueeze(1) >> torch.arange(self.num_bits) & 1).to(torch.uint8)

    assert Parity(3).fit(RAMP)(torch.tensor([[5.5]])).tolist() == [[1, 0, 1]]
