import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from difflut.encoders import DistributiveThermometer, GaussianThermometer, Thermometer, data
from difflut.encoders.quantiles import sample_rows
from difflut.registry import ENCODERS

every_encoder = pytest.mark.parametrize("name", ENCODERS)
pooled_or_not = pytest.mark.parametrize("feature_wise", [True, False])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * torch.arange(1.0, shape[-1] + 1)


def tied(*shape, seed=0):
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


class LargestTensor(TorchDispatchMode):
    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given, made = ([leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)] for tree in (args, out))
        known = {tensor.untyped_storage().data_ptr() for tensor in given}  # what lies there is a view
        sizes = [tensor.nbytes for tensor in made if tensor.untyped_storage().data_ptr() not in known]
        self.bytes = max([self.bytes, *sizes])
        return out


@pooled_or_not
@pytest.mark.parametrize("draw", [random, tied])
@pytest.mark.parametrize("rows", [1, 2, 1001])
def test_quantiles_equal_numpy(feature_wise, draw, rows, monkeypatch):
    monkeypatch.setattr(data, "BLOCK_VALUES", 1000)  # several blocks
    x = draw(rows, 5)
    encoder = DistributiveThermometer(7, feature_wise=feature_wise).fit(x)
    values = x.double().numpy() if feature_wise else x.double().numpy().reshape(-1, 1)
    expected = np.quantile(values, np.arange(1, 8) / 8, axis=0).T
    np.testing.assert_allclose(encoder.thresholds.numpy(), expected, rtol=1e-6, atol=1e-7)  # rounded to float32


def test_levels_of_quantiles_are_equally_frequent():
    x = random(8000, 3)
    level = DistributiveThermometer(7, flatten=False).fit(x)(x).sum(dim=-1).long()
    assert (torch.nn.functional.one_hot(level).sum(dim=0) - 1000).abs().max() <= 1


@pooled_or_not
@every_encoder
def test_blocks_do_not_change_thresholds(name, feature_wise, monkeypatch):
    x = random(400, 3, 5) + 1000
    whole = ENCODERS[name](4, feature_wise=feature_wise).fit(x).thresholds
    monkeypatch.setattr(data, "BLOCK_VALUES", 64)
    blocks = ENCODERS[name](4, feature_wise=feature_wise).fit(x).thresholds
    torch.testing.assert_close(blocks, whole, rtol=2e-7, atol=0)  # the last bit, where sums are ordered otherwise


def test_quantiles_of_values_that_are_too_many_to_count_are_exact(monkeypatch):
    x = random(300, 7)
    counted = DistributiveThermometer(9, feature_wise=False).fit(x).thresholds
    monkeypatch.setattr(data, "DISTINCT_VALUES", 500)
    assert torch.equal(DistributiveThermometer(9, feature_wise=False).fit(x).thresholds, counted)
    expected = x.double().flatten().quantile(torch.arange(1, 10, dtype=torch.float64) / 10)
    torch.testing.assert_close(counted[0].double(), expected, rtol=1e-7, atol=0)  # thresholds are float32


@pooled_or_not
@every_encoder
def test_one_pass_over_batches_equals_the_array(name, feature_wise):
    x = random(1000, 2, 3)
    array = ENCODERS[name](4, feature_wise=feature_wise).fit(x)
    for batches in (x.split(130), iter(x.split(130)), [b.numpy() for b in x.split(999)], [x[:0], x]):
        streamed = ENCODERS[name](4, feature_wise=feature_wise).fit(batches)
        torch.testing.assert_close(streamed.thresholds, array.thresholds, rtol=2e-7, atol=1e-7)  # sums in other order
        assert streamed.feature_shape == (2, 3)


@pooled_or_not
def test_quantiles_of_a_long_stream_are_close_and_repeatable(feature_wise, monkeypatch):
    monkeypatch.setattr(data, "SAMPLE_ROWS", 5000)
    x = random(40_000, 4).sort(dim=0).values  # the order of rows must not matter
    exact = DistributiveThermometer(3, feature_wise=feature_wise).fit(x)
    first, again = (DistributiveThermometer(3, feature_wise=feature_wise).fit(x.split(700)) for _ in range(2))
    assert torch.equal(first.thresholds, again.thresholds)
    spread = x.std(dim=0, keepdim=True).t() if feature_wise else x.std()
    # The standard error of a quartile of 5000 normal values is 0.019 standard deviations: four of those.
    assert ((first.thresholds - exact.thresholds).abs() < 0.08 * spread).all()


def test_sample_is_uniform_and_without_repetition():
    counts = torch.zeros(60)
    for seed in range(400):
        sample = sample_rows(torch.arange(60.0).unsqueeze(1).split(7), max_rows=15, max_values=1000, seed=seed)
        assert len(sample.unique()) == 15
        counts[sample.flatten().long()] += 1
    assert ((counts - 100).abs() < 45).all()  # binomial: standard deviation 8.7, five of those


def test_sample_of_wide_rows_is_smaller():
    assert sample_rows([torch.zeros(50, 10)] * 4, max_rows=100, max_values=300).shape == (30, 10)


@pytest.mark.parametrize("name", ["thermometer", "gaussian_thermometer", "distributive_thermometer"])
def test_a_stream_of_millions_of_rows_is_not_collected(name, monkeypatch):
    monkeypatch.setattr(data, "SAMPLE_ROWS", 10_000)
    batch = torch.rand(40_000, 8, generator=torch.Generator().manual_seed(0))
    with LargestTensor() as largest:
        encoder = ENCODERS[name](3).fit(batch + i for i in range(50))  # 2 million rows, 64 MB
    assert largest.bytes <= 4 * batch.nbytes
    middle = encoder.thresholds[:, 1]
    torch.testing.assert_close(middle, torch.full((8,), 25.0), rtol=0.03, atol=0)  # of a sample, 3 standard errors


@pooled_or_not
@every_encoder
def test_an_array_of_bytes_is_not_copied_as_floats(name, feature_wise, monkeypatch):
    monkeypatch.setattr(data, "BLOCK_VALUES", 2**15)
    x = torch.randint(0, 256, (2000, 16, 20), dtype=torch.uint8).permute(0, 2, 1)
    with LargestTensor() as largest:
        ENCODERS[name](3, feature_wise=feature_wise).fit(x[::2])
    assert largest.bytes <= 8 * 2**15 < x[::2].nbytes


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: x.numpy(), lambda x: x.split(3)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@every_encoder
def test_values_that_are_not_finite_are_counted(name, bad, wrap):
    x = random(10, 6)
    x[4, 5] = x[7, 3] = bad
    with pytest.raises(ValueError, match="2 of 60 training inputs are NaN or infinite in float32, first in feature 3"):
        ENCODERS[name]().fit(wrap(x))


def test_values_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="1 of 2 training inputs"):
        Thermometer().fit(torch.tensor([[1.0], [1e300]], dtype=torch.float64))


@pytest.mark.parametrize(
    "nothing", [torch.zeros(0, 4), np.zeros((0, 4)), torch.zeros(4, 0), [], iter([]), [torch.zeros(0, 4)]]
)
@every_encoder
def test_no_rows_are_refused(name, nothing):
    with pytest.raises(ValueError, match="no training inputs to fit on"):
        ENCODERS[name]().fit(nothing)


def test_batches_of_other_shape_are_refused():
    with pytest.raises(ValueError, match=r"batch 0 has \(4,\), batch 1 has \(5,\)"):
        Thermometer().fit([torch.zeros(3, 4), torch.zeros(3, 5)])


def test_batches_that_are_not_arrays_are_refused():
    with pytest.raises(TypeError, match="a batch is a tuple"):
        Thermometer().fit([(torch.zeros(3, 4), torch.zeros(3))])


def test_one_row_is_enough():
    assert GaussianThermometer(2).fit(torch.tensor([[3.0, 4.0]])).thresholds.tolist() == [[3, 3], [4, 4]]


def test_fitting_again_forgets_the_first_data():
    encoder = Thermometer(3).fit(random(20, 9)).fit(tied(30, 2))
    assert encoder.feature_shape == (2,) and torch.equal(encoder.thresholds, Thermometer(3).fit(tied(30, 2)).thresholds)


def rows_of(values, shares, rows=1000, seed=0):
    """One feature with these values in these shares of the rows, in random order."""
    column = torch.cat([torch.full((round(share * rows),), value) for value, share in zip(values, shares, strict=True)])
    return column[torch.randperm(len(column), generator=torch.Generator().manual_seed(seed))].unsqueeze(1)


@pooled_or_not
@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("num_bits", [1, 2, 5])
@pytest.mark.parametrize(
    "values,shares",
    [
        ((0.0, 1.0), (0.1, 0.9)),
        ((0.0, 1.0), (0.9, 0.1)),
        ((-7.0, 2.5), (0.001, 0.999)),
        ((1.0, 2.0, 3.0), (0.01, 0.01, 0.98)),
    ],
)
def test_the_distributive_thermometer_tells_rare_values_apart(values, shares, num_bits, as_stream, feature_wise):
    x = rows_of(values, shares)
    encoder = DistributiveThermometer(num_bits, feature_wise=feature_wise).fit(x.split(300) if as_stream else x)
    bits = encoder(torch.tensor(values).unsqueeze(1))
    assert not torch.equal(bits[-1], bits[0])
    if shares[-1] > 0.9:  # all quantiles are the largest value: the bits say whether it is that one
        assert bits.tolist() == [[0.0] * num_bits] * (len(values) - 1) + [[1.0] * num_bits]


def test_quantiles_between_other_values_stay_those_of_the_published_rule():
    x = torch.cat([rows_of((0.0, 3.0), (0.3, 0.7)), random(1000, 1)], dim=1)
    expected = np.quantile(x.numpy().astype(np.float64), [0.25, 0.5, 0.75], axis=0).T.astype(np.float32)
    assert np.array_equal(DistributiveThermometer(3).fit(x).thresholds.numpy(), expected)


@pooled_or_not
def test_a_feature_that_varies_and_comes_out_constant_is_told(feature_wise):
    x = torch.cat([5 + torch.rand(50, 1, generator=torch.Generator().manual_seed(1)), random(50, 2)], dim=1)
    with pytest.warns(UserWarning, match=r"SignMagnitude: 1 of 3 features .*; first feature 0, from 5\.\d+ to 5\.9"):
        ENCODERS["sign_magnitude"](2, feature_wise=feature_wise).fit(x)


TIMES = 1_700_000_000 + np.arange(0, 3600, 7)


@pytest.mark.parametrize(
    "x",
    [TIMES, TIMES.astype(np.float64), torch.from_numpy(TIMES), TIMES * 1e-3 + 1e6, np.int32(16_777_216) + np.arange(9)],
)
@every_encoder
def test_values_that_float32_cannot_tell_apart_are_refused(name, x):
    table = np.stack([np.arange(len(x)), np.asarray(x)], axis=1)
    with pytest.raises(ValueError, match=r"feature 1 goes from .* subtract a common value"):
        ENCODERS[name](2).fit(torch.from_numpy(table) if isinstance(x, torch.Tensor) else table)


@pytest.mark.parametrize("x", [TIMES - TIMES[0], np.full(9, 2**53 + 1), np.random.default_rng(0).normal(size=999)])
def test_values_that_float32_rounds_harmlessly_are_taken(x):
    assert Thermometer(3).fit(x).fitted
