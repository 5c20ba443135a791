import pytest
import torch

from difflut.layers import random_wiring
from difflut.registry import LAYERS, NODES


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


IMAGE = {"image_shape": (6, 9), "window": 3}


@pytest.mark.parametrize(("layer_type", "options"), [("random", {}), ("learnable", {"top_k": 5})])
def test_windows_hold_all_that_a_node_may_read(layer_type, options):
    layer = LAYERS[layer_type](6 * 9 * 4, 400, NODES["dwn"], n=5, seed=3, **IMAGE, **options)
    read = layer.mapping if layer_type == "random" else layer.candidates
    pixels = read // 4
    lines, columns = (place.view(400, -1) for place in (pixels // 9, pixels % 9))
    for place in (lines, columns):
        assert (place.amax(1) - place.amin(1)).max() <= 2
    assert all(len(set(node)) == 5 for node in read.tolist())
    assert set(pixels.flatten().tolist()) == set(range(6 * 9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 3}, "needs both image_shape and window"),
        ({"image_shape": (5, 9), "window": 3}, "input_size=216 is no multiple of image_shape"),
        ({"image_shape": (6, 9), "window": 7}, "window=7 must lie between 1 and 6"),
        ({"image_shape": (6, 9), "window": 1}, "window=1, .* leave a node 4 inputs, and it needs 5"),
    ],
)
def test_windows_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LAYERS["random"](6 * 9 * 4, 400, NODES["dwn"], n=5, **options)


def test_windows_of_a_learnable_wiring_need_candidates():
    with pytest.raises(ValueError, match=r"window=3, .* need top_k"):
        LAYERS["learnable"](6 * 9 * 4, 40, NODES["dwn"], n=5, **IMAGE)


def test_equal_keys_keep_their_order(monkeypatch):
    # Else the wiring of a seed would depend on how a processor sorts.
    keys = torch.randint(3, (2, 600)).float()
    monkeypatch.setattr(torch, "rand", lambda *size, generator: keys.clone())
    wiring = random_wiring(600, 450, 4, torch.Generator().manual_seed(0)).flatten()
    assert torch.equal(wiring[600:], torch.cat([row.argsort(stable=True) for row in keys])[:1200])


@pytest.mark.parametrize(("layer_type", "options"), [("random", {}), ("learnable", {"top_k": 7})])
def test_nodes_read_few_channels_of_their_group_and_neighbours_the_same(layer_type, options):
    channels = {"channels_per_node": 2, "groups": 3, "together": 2}
    layer = LAYERS[layer_type]((12, 6, 5), 48, NODES["dwn"], n=4, seed=3, kernel_size=2, **channels, **options)
    read = layer.mapping if layer_type == "random" else layer.candidates.view(48, -1)
    chosen = [set(node) for node in (read // 4).tolist()]  # a channel has four places in a window
    for node, two in enumerate(chosen):
        assert len(two) <= 2 and two == chosen[node ^ 1]
        assert {channel // 4 for channel in two} == {node // 16}
    assert torch.stack([read // 4 == channel for channel in range(12)]).flatten(1).any(1).all()
    pins = read.view(-1, read.shape[1] if layer_type == "random" else 7)
    assert all(len(set(pin)) == len(pin) for pin in pins.tolist())
