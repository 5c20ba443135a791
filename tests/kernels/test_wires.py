from itertools import pairwise

import pytest
import torch

from difflut.kernels.cuda.wires import walk
from difflut.layers.wiring import random_wiring


@pytest.mark.parametrize("features,nodes,n", [(60, 60, 2), (40, 90, 3), (90, 20, 1), (7, 5, 6), (5, 0, 2)])
def test_a_walk_visits_every_node_and_feature_once(features, nodes, n):
    wiring = torch.randint(features, (nodes, n)).tolist()
    node_order, feature_order = walk(wiring, features)
    assert sorted(node_order) == list(range(nodes)) and sorted(feature_order) == list(range(features))


def test_a_walk_goes_round_rings():
    wiring = random_wiring(500, 500, 2, torch.Generator().manual_seed(0)).tolist()
    node_order, _ = walk(wiring, 500)
    apart = sum(not set(wiring[a]) & set(wiring[b]) for a, b in pairwise(node_order))
    assert apart < 10  # where a ring ends
