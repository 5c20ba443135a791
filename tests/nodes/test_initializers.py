import math

import pytest
import torch

from difflut.registry import INITIALIZERS, NODES


def weights(name, **init_kwargs):
    torch.manual_seed(0)
    node = NODES["linear_lut"](6, 2, width=4000, init_fn=INITIALIZERS[name], init_kwargs=init_kwargs)
    return node.weight.detach()


@pytest.mark.parametrize(
    ("name", "arguments", "std"),
    [
        ("normal", {"mean": 0.0, "std": 0.3}, 0.3),
        ("uniform", {"a": -0.5, "b": 0.5}, 1 / math.sqrt(12)),
        ("xavier_uniform", {}, math.sqrt(2 / 8)),
        ("xavier_normal", {"gain": 2.0}, 2 * math.sqrt(2 / 8)),
        ("kaiming_uniform", {"nonlinearity": "relu"}, math.sqrt(2 / 6)),
        ("kaiming_normal", {"a": 0.0, "mode": "fan_in", "nonlinearity": "relu"}, math.sqrt(2 / 6)),
        ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "linear"}, math.sqrt(1 / 2)),
    ],
)
def test_random_initializers_have_their_standard_deviation(name, arguments, std):
    # 24,000 draws: the relative error of their standard deviation is about half a per cent.
    assert weights(name, **arguments).std().item() == pytest.approx(std, rel=0.03)


def test_constant_initializers():
    assert (weights("zeros") == 0).all()
    assert (weights("ones") == 1).all()


@pytest.mark.parametrize("name", ["probabilistic", "warp", "dwn_stable"])
def test_variance_stabilized_logits_have_their_variance_in_every_parametrisation(name):
    node = NODES[name](6, 2, width=2000, init_fn=INITIALIZERS["variance_stabilized"], init_kwargs={"v_target": 2.0})
    assert torch.logit(node.soft_table()).var().item() == pytest.approx(4 * 2.0 / (6 + 2), rel=0.05)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("residual", {"clarity": 1.0}, "clarity=1.0"),
        ("variance_stabilized", {"v_target": -1.0}, "v_target=-1.0"),
        ("kaiming_normal", {"mode": "fan"}, "mode='fan'"),
    ],
)
def test_bad_arguments_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        weights(name, **arguments)
