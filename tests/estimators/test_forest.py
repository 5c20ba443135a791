from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

from difflut.encoders import MidpointThermometer
from difflut.estimators import default_recipe
from difflut.estimators.fitting import Fitter, Table
from difflut.estimators.forest import (
    Splits,
    forest_splits,
    grow_forest,
    set_thresholds,
    votes_of_rows,
    weights_at_addresses,
)
from difflut.registry import REGISTRY


@pytest.fixture
def table():
    x, y = make_classification(200, 5, n_informative=4, n_redundant=0, class_sep=1.5, random_state=6)
    return Table(x.astype(np.float32), y, np.ones(len(y)), 2)


def classes_of(tables, classes=2):
    return np.arange(tables) * classes // tables


def splits_of(table, tables=40, n=6, seed=0):
    return ways(table.x, table.y, table.weights, classes_of(tables), n, trees=9, seed=seed)


def ways(x, y, weights, own_class, n, trees, seed=0):
    return forest_splits(grow_forest(x, y, weights, trees, seed), x, y, own_class, n, seed)


def test_splits_lie_between_values_and_follow_from_the_seed(table):
    splits = splits_of(table)
    present = splits.feature >= 0
    assert splits.threshold.dtype == np.float32 and present[:, 0].all() and present.mean() > 0.5
    for feature, threshold in zip(splits.feature[present], splits.threshold[present], strict=True):
        above = table.x[:, feature] > threshold
        assert 0 < above.sum() < 200
    assert np.array_equal(splits_of(table).threshold, splits.threshold)
    assert not np.array_equal(splits_of(table, seed=1).threshold, splits.threshold)


def test_splits_of_a_table_are_on_one_way_so_that_features_which_matter_together_are_read_together():
    x = np.random.default_rng(7).integers(0, 2, (400, 6)).astype(np.float32)
    y = (x[:, 1] != x[:, 4]).astype(int)
    splits = ways(x, y, np.ones(400), classes_of(200), 6, trees=20, seed=0)
    together = [{1, 4} <= set(row) for row in splits.feature]
    assert np.mean(together) > 0.95  # nothing is pure before both are compared, unless the way is long


def test_a_table_takes_the_way_of_a_row_of_its_class():
    y = np.random.default_rng(11).permutation(np.repeat(np.arange(6), 50))
    x = (y[:, None] == np.arange(6)).astype(np.float32)  # a way ends where it compares the feature of its class
    own_class = classes_of(300, 6)
    splits = ways(x, y, np.ones(300), own_class, 6, trees=20, seed=0)
    assert np.mean((splits.feature == own_class[:, None]).any(axis=1)) > 0.75


def test_a_class_without_rows_takes_ways_of_others(table):
    splits = ways(table.x, table.y, np.ones(200), classes_of(90, 3), 6, trees=9, seed=0)
    assert (splits.feature[60:, 0] >= 0).all()


def test_stretches_begin_all_along_the_way(table):
    y = np.random.default_rng(10).integers(0, 2, 200)  # trees are deep
    splits = ways(table.x, y, np.ones(200), classes_of(100), 2, trees=3, seed=0)
    assert len(np.unique(splits.threshold[:, 0])) > 20


def test_a_short_way_is_taken_as_a_whole():
    x = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [9.0, 5.0]] * 10, np.float32)
    splits = ways(x, (x[:, 0] > 4).astype(int), np.ones(40), classes_of(7), 3, trees=5, seed=0)
    assert (splits.feature == [0, -1, -1]).all()
    assert ((splits.threshold[:, 0] >= 2) & (splits.threshold[:, 0] < 9)).all()


def test_missing_values_are_below_all_others():
    x = np.array([[np.nan, np.nan], [1.0, np.nan], [2.0, np.nan], [3.0, np.nan]] * 10, np.float32)
    splits = ways(x, np.tile([1, 1, 0, 0], 10), np.ones(40), classes_of(4), 2, trees=5, seed=0)
    assert (splits.feature == [0, -1]).all()  # one split is enough
    assert ((splits.threshold[:, 0] >= 1) & (splits.threshold[:, 0] < 2)).all()


def test_rows_with_more_weight_decide_the_splits():
    x = np.array([[0.0], [1.0], [2.0]] * 20, np.float32)
    y = np.tile([0, 1, 0], 20)
    weights = np.where(x[:, 0] == 0, 1e-6, 1.0)
    first = ways(x, y, weights, classes_of(30), 1, trees=30, seed=0).threshold
    assert (first[:, 0] > 1).mean() > 0.5  # of the first and the second split of each way one is drawn


def test_the_bit_of_a_split_is_its_comparison(table):
    encoder = MidpointThermometer(256).fit(table.x)
    splits = splits_of(table)
    bits, present = set_thresholds(encoder, splits), splits.feature >= 0
    assert torch.equal(bits < 0, torch.from_numpy(~present))
    read = encoder(torch.from_numpy(table.x))[:, bits[torch.from_numpy(present)]].numpy()
    assert np.array_equal(read == 1, table.x[:, splits.feature[present]] > splits.threshold[present])


def test_more_splits_than_bits_take_the_nearest_of_their_quantiles():
    encoder = MidpointThermometer(2).fit(torch.tensor([[0.0, 3.0], [8.0, 4.0]]))
    thresholds = np.array([[1, 2, 3, 4, 5, 6, 7, 7]], np.float32)
    bits = set_thresholds(encoder, Splits(np.zeros((1, 8), int), thresholds))
    assert encoder.thresholds.tolist() == [[3, 6], [3.5, 3.5]]
    assert bits.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_the_most_thresholds_are_those_of_one_feature():
    feature = np.array([[0, 2, 2], [2, 0, -1], [2, 1, -1]])
    threshold = np.array([[5, 1, 2], [1, 6, 9], [3, 1, 9]], np.float32)
    assert Splits(feature, threshold).most_thresholds() == 3
    assert Splits(np.full((2, 2), -1), np.zeros((2, 2), np.float32)).most_thresholds() == 0


def test_weights_are_summed_at_the_addresses_of_the_rows():
    generator = torch.Generator().manual_seed(3)
    bits = torch.randint(2, (70, 9), generator=generator).float()
    wiring = torch.stack([torch.randperm(9, generator=generator)[:3] for _ in range(5)])
    weights = torch.rand(5, 2, 70, generator=generator) + 0.1
    address = (bits[:, wiring].long() << torch.arange(3)).sum(-1).t()
    expected = torch.zeros(5, 2, 8).scatter_add_(2, address[:, None].expand(-1, 2, -1), weights)
    torch.testing.assert_close(weights_at_addresses(bits, wiring, weights), expected)


def test_as_many_tables_vote_at_an_address_as_rows_are_of_their_class_there():
    random = np.random.default_rng(8)
    bits = torch.from_numpy(random.integers(0, 2, (6000, 3))).float()
    shares = torch.tensor([0.1, 0.35, 0.6, 0.9])
    address = (bits[:, 2] + 2 * bits[:, 0]).long()  # that of the wiring below
    y = (torch.rand(6000, generator=torch.Generator().manual_seed(9)) < shares[address]).long()
    weights = torch.where(y == 1, 2.0, 1.0)
    wiring = torch.tensor([[2, 0]]).expand(100, 2)
    votes = votes_of_rows(bits, y, weights, wiring, 2, seed=0)
    assert votes.shape == (100, 1, 4) and votes.min() >= 0 and votes.max() <= 1
    found = (votes[:, 0] >= 0.5).view(2, 50, 4).float().mean(1)
    expected = 2 * shares / (1 + shares)
    torch.testing.assert_close(found, torch.stack([1 - expected, expected]), atol=0.04, rtol=0)


def test_an_address_without_rows_votes_as_the_rows_with_the_same_first_bits_do():
    y = torch.tensor([0, 1]).repeat(3)
    bits = torch.stack([y, torch.zeros(6), torch.ones(6)], dim=1).float()
    wiring = torch.tensor([[0, 1, 2]]).expand(400, 3)
    votes = votes_of_rows(bits, y, torch.ones(6), wiring, 2, seed=0)
    found = (votes[200:, 0] >= 0.5).float().mean(0)  # of the second class
    of_three_rows = torch.tensor([0.5 / 4, (3 + 0.5) / 4])  # where the first bit is 0, where it is 1
    unseen = torch.tensor([0, 1, 2, 3, 6, 7])  # the second bit is 1 or the third one 0, as in no row
    of_same = torch.stack([of_three_rows[0] / 4, (3 + of_three_rows[1]) / 4])  # and the second bit is 0
    expected = torch.cat([of_same, of_three_rows, of_three_rows])
    torch.testing.assert_close(found[unseen], expected, atol=0.006, rtol=0)


@pytest.mark.parametrize(("explores", "every"), [(False, 1), (True, 2)])
def test_an_untrained_network_votes_as_a_forest(table, explores, every):
    recipe = replace(default_recipe(200, 5, 2), explores=explores)
    fitter = Fitter(REGISTRY.get_node("dwn"), 6, 0)
    network = fitter.make_network(table, recipe, fitter.grow(table, recipe)).eval()
    assert table.score(network) > 0.85
    wiring, thresholds = network.layers[0].wiring()[::every], network.encoder.thresholds
    splits = ways(table.x, table.y, np.ones(200), classes_of(2 * recipe.votes // every), 6, recipe.trees, 0)
    present = splits.feature >= 0
    assert np.array_equal((wiring // network.encoder.num_bits).numpy()[present], splits.feature[present])
    read = thresholds.flatten()[wiring].numpy()
    assert np.median(np.abs(read - splits.threshold)[present]) < 0.01
