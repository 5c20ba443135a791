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


@pytest.mark.parametrize("arguments", [{"k": 0}, {"k": 2, "tau": 0.0}])
def test_bad_arguments_are_errors(arguments):
    with pytest.raises(ValueError, match="must be"):
        GroupSum(**arguments)
