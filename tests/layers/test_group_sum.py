import pytest
import torch

from difflut.utils.modules import GroupSum


def test_logits_are_sums_of_equal_stretches_over_tau():
    x = torch.rand(9, 12)
    expected = torch.stack([x[:, 0:4].sum(1), x[:, 4:8].sum(1), x[:, 8:12].sum(1)], dim=1) / 2.5
    torch.testing.assert_close(GroupSum(k=3, tau=2.5)(x), expected)


def test_a_permutation_is_drawn_once_and_saved():
    x = torch.rand(9, 12)
    module, other = GroupSum(k=3, use_randperm=True, seed=1), GroupSum(k=3, use_randperm=True, seed=2)
    first = module(x)
    assert torch.equal(first, module(x))
    assert not torch.equal(first, other(x)) and not torch.equal(first, GroupSum(k=3)(x))
    other.load_state_dict(module.state_dict())
    assert torch.equal(first, other(x))


@pytest.mark.parametrize("use_randperm", [False, True])
def test_groups_say_where_each_feature_counts(use_randperm):
    module, x = GroupSum(k=3, use_randperm=use_randperm), torch.rand(9, 12)
    expected = torch.zeros(9, 3).index_add(1, module.groups(12), x)
    torch.testing.assert_close(module(x), expected)


def test_a_width_that_cannot_be_divided_is_an_error():
    with pytest.raises(ValueError, match="11 features cannot be divided into k=3 equal groups; make the last layer 12"):
        GroupSum(k=3)(torch.rand(2, 11))


def test_a_learned_tau_starts_as_given_and_has_a_gradient():
    x = torch.rand(9, 12)
    module = GroupSum(k=3, tau=2.5, learn_tau=True)
    y = module(x)
    torch.testing.assert_close(y, GroupSum(k=3, tau=2.5)(x))
    y.square().sum().backward()
    # y = s / tau, so d(sum y^2) / d(log tau) = -2 sum y^2.
    torch.testing.assert_close(module.log_tau.grad, -2 * y.detach().square().sum())
    assert module.present_tau == pytest.approx(2.5)


def test_a_scheduled_tau_moves_in_training_only():
    x, module = torch.rand(9, 12), GroupSum(k=3, tau=8.0, tau_end=2.0, tau_steps=4)
    sums, seen = GroupSum(k=3)(x), []
    for _ in range(6):
        seen.append((sums / module(x)).mean().item())
    assert seen == pytest.approx([2**2.5, 4, 2**1.5, 2, 2, 2], rel=1e-5)
    module.eval()(x)
    assert module.steps == 6 and module.present_tau == pytest.approx(2)
    other = GroupSum(k=3, tau=8.0, tau_end=2.0, tau_steps=4)
    other.load_state_dict(module.state_dict())
    assert other.present_tau == module.present_tau


@pytest.mark.parametrize(
    "arguments",
    [
        *({"k": 0}, {"k": 2, "tau": 0.0}, {"k": 2, "tau_end": 0.0}, {"k": 2, "tau_end": 1.0, "tau_steps": 0}),
        {"k": 2, "tau_end": 1.0, "learn_tau": True},
    ],
)
def test_bad_arguments_are_errors(arguments):
    with pytest.raises(ValueError, match="must be"):
        GroupSum(**arguments)


def test_steps_without_a_last_temperature_are_refused():
    with pytest.raises(ValueError, match="tau_steps=7 needs tau_end, the temperature after these steps; got None"):
        GroupSum(k=2, tau_steps=7)


def test_a_head_that_reads_nothing_is_refused():
    with pytest.raises(ValueError, match=r"reads=\[\] must name at least one layer"):
        GroupSum(k=2, reads=[])


def test_one_class_and_one_step_are_enough():
    head = GroupSum(1, tau=4.0, tau_end=2.0, tau_steps=1)
    assert head.present_tau == 4 and not head.tau_is_fixed and GroupSum(1).tau_is_fixed
    assert torch.equal(head(torch.ones(2, 3)), torch.full((2, 1), 1.5))
    assert head.present_tau == 2
