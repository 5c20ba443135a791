import copy
import math

import pytest
import torch

from difflut.encoders import DistributiveThermometer, Thermometer
from difflut.registry import ENCODERS

every_encoder = pytest.mark.parametrize("name", ENCODERS)
sharing = pytest.mark.parametrize("feature_wise", [True, False])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def moved(name, seed=0, **options):
    """A fitted encoder whose thresholds have moved, some past others."""
    encoder = ENCODERS[name](4, learnable=True, **options).fit(random(300, 5))
    encoder.moves.data = 0.7 * random(*encoder.moves.shape, seed=seed + 1)
    return encoder


@every_encoder
@sharing
def test_before_training_bits_are_those_of_fitted_thresholds(name, feature_wise):
    x = random(300, 5)
    plain = ENCODERS[name](4, feature_wise=feature_wise, word_bits=5).fit(x)
    learnable = ENCODERS[name](4, feature_wise=feature_wise, word_bits=5, learnable=True).fit(x)
    assert torch.equal(learnable.hard_thresholds(), plain.thresholds)
    assert torch.equal(learnable(x), plain(x)) and torch.equal(learnable.eval()(x), plain(x))


@every_encoder
@sharing
def test_moved_thresholds_are_compared_with(name, feature_wise):
    encoder, x = moved(name, feature_wise=feature_wise), random(64, 5, seed=9)
    spread = random(300, 5).std(0, correction=0) if feature_wise else random(300, 5).std(correction=0).view(1)
    expected = (encoder.thresholds + spread[:, None] * encoder.moves).detach()
    torch.testing.assert_close(encoder.hard_thresholds(), expected.sort(dim=1).values)
    level = (x.unsqueeze(-1) > encoder.hard_thresholds()).sum(-1)
    assert torch.equal(encoder(x), encoder.codebook[level].float().flatten(1))
    assert not torch.equal(encoder(x), ENCODERS[name](4, feature_wise=feature_wise).fit(random(300, 5))(x))


@every_encoder
@sharing
def test_the_gradient_is_that_of_a_sigmoid(name, feature_wise):
    encoder, x = moved(name, feature_wise=feature_wise, temperature=0.3), random(64, 5, seed=9)
    x[3, 2], x[4, 1] = math.inf, -math.inf
    upstream = random(64, 5 * 4, seed=5)
    encoder(x).backward(upstream)
    moves = encoder.moves.detach().requires_grad_()
    thresholds = encoder.thresholds + encoder.spread * moves
    passed = torch.sigmoid((x.unsqueeze(-1) - thresholds) / (0.3 * encoder.spread))
    # The order of thresholds decides which step of the code a threshold stands for.
    passed = passed.gather(-1, thresholds.argsort(dim=1).expand_as(passed))
    soft = encoder.codebook[0].float() + passed @ encoder.codebook.float().diff(dim=0)
    soft.flatten(1).backward(upstream)
    assert moves.grad.abs().max() > 0.01
    torch.testing.assert_close(encoder.moves.grad, moves.grad, rtol=1e-4, atol=1e-5)  # sums in another order


def test_inputs_get_no_gradient_and_nan_harms_none():
    encoder, x = moved("thermometer"), random(8, 5).requires_grad_()
    with torch.no_grad():
        x[2, 3] = math.nan
    encoder(x).sum().backward()
    assert x.grad is None and encoder.moves.grad.isfinite().all() and encoder.moves.grad.abs().sum() > 0


def test_a_constant_feature_has_no_gradient():
    x = random(50, 2)
    x[:, 1] = 4.5
    with torch.no_grad():
        plain = Thermometer(3).fit(x)(x)
    encoder = Thermometer(3, learnable=True).fit(x)
    assert torch.equal(encoder(x), plain)
    encoder(x).sum().backward()
    assert (encoder.moves.grad[0] != 0).all() and (encoder.moves.grad[1] == 0).all()


@pytest.mark.parametrize("how", ["evaluation", "no_grad", "frozen"])
def test_only_training_keeps_what_a_gradient_needs(how):
    encoder = moved("thermometer")
    if how == "frozen":
        encoder.requires_grad_(False)
    with torch.set_grad_enabled(how != "no_grad"):
        assert not (encoder.eval() if how == "evaluation" else encoder)(random(4, 5)).requires_grad


@every_encoder
@sharing
def test_state_copies_and_the_hardened_encoder_give_the_same_bits(name, feature_wise):
    encoder, x = moved(name, feature_wise=feature_wise, word_bits=6), random(64, 5, seed=9)
    loaded = type(encoder)(**encoder.get_params())
    loaded.load_state_dict(encoder.state_dict())
    loaded.check_state()
    hardened = encoder.hardened()
    assert not hardened.learnable and not list(hardened.parameters())
    again = type(hardened)(**hardened.get_params())
    again.load_state_dict(hardened.state_dict())
    for other in (loaded, copy.deepcopy(encoder), hardened, hardened.hardened(), again):
        assert torch.equal(other(x), encoder(x))
        assert torch.equal(other.hard_thresholds(), encoder.hard_thresholds())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_casting_the_model_moves_no_threshold(dtype):
    encoder = moved("thermometer")
    before = encoder.hard_thresholds()
    cast = torch.nn.Sequential(encoder).to(dtype)[0]
    assert torch.equal(cast.hard_thresholds(), before) and cast.moves.dtype == torch.float32


@pytest.mark.parametrize("pixels", [True, False])
@sharing
def test_words_of_few_bits_tell_moved_thresholds_apart(pixels, feature_wise):
    x = torch.randint(256, (200, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x = x if pixels else x / 255
    encoder = DistributiveThermometer(3, feature_wise=feature_wise, word_bits=3, learnable=True).fit(x)
    encoder.moves.data = 0.4 * random(*encoder.moves.shape, seed=2)
    plain = copy.deepcopy(encoder)
    plain.word_bits = None
    plain.snap(3, pixels)
    assert torch.equal(encoder.hard_thresholds(), plain.thresholds) and (plain.moves == 0).all()
    assert not torch.equal(encoder.hard_thresholds(), encoder._moved())
    if pixels:
        inside = encoder.hard_thresholds()[encoder.hard_thresholds().sub(127).abs() < 127]
        assert len(inside) > 2 and ((inside + 0.5) % 32 == 0).all()


def test_options_without_effect_and_states_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"temperature=0.2 must be above 0, and needs learnable=True"):
        Thermometer(temperature=0.2)
    with pytest.raises(ValueError, match=r"temperature=-1.0 must be above 0"):
        Thermometer(temperature=-1.0, learnable=True)
    encoder = moved("thermometer")
    encoder.moves.data = encoder.moves.data[:2]
    with pytest.raises(ValueError, match="do not fit the 5 rows of thresholds"):
        encoder.check_state()
