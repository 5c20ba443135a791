import pytest
import torch

from difflut.layers import random_wiring


@pytest.mark.parametrize(("inputs", "nodes", "n"), [(100, 50, 6), (7, 40, 6), (6, 30, 6), (2352, 500, 6), (10, 3, 2)])
def test_inputs_are_used_evenly_and_never_twice_in_a_node(inputs, nodes, n):
    for seed in range(5):
        wiring = random_wiring(inputs, nodes, n, torch.Generator().manual_seed(seed))
        assert wiring.shape == (nodes, n)
        uses = wiring.flatten().bincount(minlength=inputs)
        assert uses.max() - uses.min() <= 1
        assert all(len(set(node)) == n for node in wiring.tolist())


def test_fewer_inputs_than_pins_are_still_used_evenly():
    wiring = random_wiring(4, 10, 6, torch.Generator().manual_seed(0))
    uses = wiring.flatten().bincount(minlength=4)
    assert uses.tolist() == [15, 15, 15, 15]


def test_the_seed_decides():
    first, again, other = (random_wiring(50, 20, 6, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
