import copy
import pickle
from functools import partial

import pytest
import torch

from difflut import kernels
from difflut.nodes import relaxed
from difflut.registry import LAYERS, NODES

VARIANTS = [
    {"selection": selection, "top_k": top_k} for selection in ("straight_through", "soft") for top_k in (None, 5)
]


def make(node_type="probabilistic", **options):
    return LAYERS["learnable"](20, 12, NODES[node_type], n=3, seed=1, **options)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_hard_wiring_takes_the_largest_weight(options):
    layer = make(**options)
    if layer.candidates is None:
        expected = layer.logits.argmax(0)
    else:
        expected = torch.stack([layer.candidates[pin, layer.logits[pin].argmax()] for pin in range(36)])
        assert all(len(set(pin)) == 5 for pin in layer.candidates.tolist())
    assert torch.equal(layer.wiring(), expected.view(12, 3))


def _changed_in_place(layer):
    with torch.no_grad():
        layer.logits.neg_()


def _changed_behind_autograd(layer):
    layer.logits.data.neg_()


def _loaded(layer):
    layer.load_state_dict({**layer.state_dict(), "logits": -layer.logits.detach()})


def _trained(make_optimizer):
    def train(layer):
        optimizer = make_optimizer([layer.logits], lr=10.0)
        for _ in range(2):
            optimizer.zero_grad()
            with relaxed(layer):
                layer(torch.rand(8, 20).round()).sum().backward()
            optimizer.step()

    return train


@pytest.mark.parametrize(
    "change",
    [
        _changed_in_place,
        _changed_behind_autograd,
        _loaded,
        _trained(kernels.Adam),
        _trained(partial(torch.optim.AdamW, fused=True)),
        _trained(partial(torch.optim.SGD, fused=True)),
    ],
)
@pytest.mark.parametrize("node_type", ["dwn", "probabilistic"])
def test_the_hard_wiring_follows_logits_that_change_during_evaluation(node_type, change):
    torch.manual_seed(0)
    layer = make(node_type).eval()
    for _ in range(2):
        before = layer.wiring()
        change(layer)
        for same in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(same.wiring(), layer.logits.argmax(0).view(12, 3))
        assert not torch.equal(layer.wiring(), before)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_wiring_learns_to_read_the_input_that_matters(options):
    torch.manual_seed(0)
    if options["selection"] == "soft":
        layer = make("probabilistic", tau_steps=100, **options)
    else:
        layer = make("dwn", **options)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)

    def reads():
        return (layer.wiring() == 7).any(1).double().mean().item()

    before = reads()
    for _ in range(200):
        x = torch.rand(128, 20).round()
        loss = (layer(x).mean(1) - x[:, 7]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # With candidates only some nodes can reach input 7.
    reachable = 1.0 if layer.candidates is None else (layer.candidates == 7).view(12, -1).any(1).double().mean().item()
    assert reads() > before and reads() >= 0.7 * reachable


@pytest.mark.parametrize("top_k", [None, 5])
def test_the_temperature_falls_by_itself_in_training_only(top_k):
    layer = make(selection="soft", top_k=top_k, tau_start=1.0, tau_end=0.01, tau_steps=4)
    x, seen = torch.rand(8, 20), []
    for _ in range(6):
        layer(x)
        seen.append(layer.temperature().item())
    assert seen == pytest.approx([10**-0.5, 10**-1, 10**-1.5, 10**-2, 10**-2, 10**-2], rel=1e-4)
    layer.eval()(x)
    with relaxed(layer):
        layer(x)
    assert layer.steps == 6


@pytest.mark.parametrize("top_k", [None, 5])
def test_soft_selection_is_a_mixture_that_tends_to_the_hard_one(top_k):
    layer = make(selection="soft", top_k=top_k, tau_start=1e-6, tau_end=1e-6)
    x = torch.rand(16, 20)
    with relaxed(layer.eval()):
        torch.testing.assert_close(layer(x), layer.node.relaxed(x, layer.wiring()), rtol=0, atol=1e-4)


def test_gumbel_noise_chooses_inputs_in_training_as_often_as_the_weights_say():
    # So cold that a mixture is one input, and a step later as cold as before.
    options = {"selection": "soft", "tau_start": 1e-6, "tau_end": 1e-6}
    layer = LAYERS["learnable"](3, 4000, NODES["linear_lut"], n=1, gumbel=True, **options)
    with torch.no_grad():
        layer.logits.copy_(torch.tensor([0.7, 0.2, 0.1]).log().unsqueeze(1).expand_as(layer.logits))
        layer.node.weight.fill_(100)
        layer.node.bias.fill_(-50)  # a node is its input
        chosen = torch.stack([layer(torch.eye(3)) for _ in range(2)])
        # Two passes of 4000 pins: a standard deviation of 0.005.
        torch.testing.assert_close(chosen.mean((0, 2)), torch.tensor([0.7, 0.2, 0.1]), rtol=0, atol=0.025)
        assert (chosen[0] != chosen[1]).double().mean() > 0.1
        with relaxed(layer.eval()):
            assert torch.equal(layer(torch.eye(3))[0], torch.ones(4000)) and torch.equal(*(layer(torch.eye(3)),) * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "hard"}, "selection='hard' must be one of straight_through, soft"),
        ({"top_k": 21}, "top_k=21 must lie between 1 and 20"),
        ({"tau_start": 0.01, "tau_end": 0.1}, "tau_start=0.01, tau_end=0.1"),
        *(({name: 0.5}, f"{name}=0.5.* need selection='soft'") for name in ("tau_start", "tau_end")),
        ({"tau_steps": 40}, "tau_steps=40 need selection='soft', .*; got 'straight_through'"),
        ({"gumbel": True}, "gumbel=True needs selection='soft', got 'straight_through'"),
        ({"together": 2, "top_k": 4}, "together=2 needs window, channels_per_node or groups"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("top_k", [None, 6])
def test_a_loaded_wiring_is_read_and_others_stay(top_k):
    layer = LAYERS["learnable"](input_size=12, output_size=7, node_type=NODES["dwn"], n=3, top_k=top_k, seed=2)
    generator = torch.Generator().manual_seed(5)
    before, logits, choices = layer.wiring(), layer.logits.detach().clone(), layer.choices()
    wanted = before.clone()
    pick = torch.randint(top_k or 12, (3,), generator=generator)
    wanted[[1, 4, 6], [0, 2, 1]] = pick if choices is None else choices[[1, 4, 6], [0, 2, 1], pick]
    layer.load_wiring(wanted)
    assert torch.equal(layer.wiring(), wanted)
    assert (layer.logits != logits).sum() == (wanted != before).sum()


def test_a_wiring_that_cannot_be_loaded_is_refused():
    layer = LAYERS["learnable"](input_size=12, output_size=4, node_type=NODES["dwn"], n=2, top_k=3, seed=2)
    taken = layer.choices()[0, 0].tolist()
    other = layer.wiring().clone()
    other[0, 0] = next(feature for feature in range(12) if feature not in taken)
    with pytest.raises(ValueError, match="not among its candidates"):
        layer.load_wiring(other)
    fixed = LAYERS["random"](input_size=12, output_size=4, node_type=NODES["dwn"], n=2, seed=2)
    with pytest.raises(ValueError, match="the wiring of a Random layer is fixed"):
        fixed.load_wiring((fixed.wiring() + 1) % 12)


PLACES = [
    {"input_size": 40},
    {"input_size": 162, "image_shape": (9, 9), "window": 4},
    {"input_size": (8, 5, 5), "kernel_size": 3, "channels_per_node": 2, "groups": 2},
]


@pytest.mark.parametrize("place", PLACES)
def test_the_worse_half_of_the_candidates_is_drawn_anew_in_the_same_place(place):
    layer = LAYERS["learnable"](output_size=10, node_type=NODES["dwn"], n=3, top_k=6, seed=1, **place)
    before, weights, wiring = layer.candidates.clone(), layer.logits.detach().clone(), layer.wiring()
    layer.redraw(torch.Generator().manual_seed(5))
    assert torch.equal(layer.wiring(), wiring) and all(len(set(pin)) == 6 for pin in layer.candidates.tolist())
    moved = layer.candidates != before
    assert torch.equal(layer.logits != weights, moved)
    assert moved.sum(1).max() == 3 and moved.sum() > 30
    worst = weights.argsort(1)[:, :3]
    assert not moved.scatter(1, worst, False).any()
    best = weights.amax(1, keepdim=True).expand_as(weights)
    torch.testing.assert_close(layer.logits[moved].detach(), best[moved] - 0.05)
    if "window" in place:
        pixels = layer.candidates.view(10, -1) // 2
        for side in (pixels // 9, pixels % 9):
            assert (side.amax(1) - side.amin(1)).max() <= 3
    if "groups" in place:
        assert all(len(set(node)) <= 2 for node in (layer.candidates.view(10, -1) // 9).tolist())


def test_what_a_redraw_gives_follows_from_the_generator_alone():
    drawn = []
    for seed in (5, 5, 6):
        layer = make(top_k=6)
        torch.manual_seed(seed + len(drawn))
        layer.redraw(torch.Generator().manual_seed(seed))
        drawn.append(layer.candidates)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"top_k": 20}])
def test_without_other_inputs_a_redraw_changes_nothing(options):
    layer = make(**options)
    before = copy.deepcopy(layer.state_dict())
    layer.redraw(torch.Generator().manual_seed(5))
    assert not layer.chooses_among_few
    assert all(map(torch.equal, layer.state_dict().values(), before.values()))


def convolution(node_type):
    return LAYERS["learnable"]((3, 5, 4), 4, node_type, 3, kernel_size=2, channels_per_node=2, top_k=5, seed=0)


def test_nodes_that_look_at_what_they_read_get_it_as_a_tensor():
    seen = []

    class Looking(NODES["hybrid"]):
        def relaxed(self, x, wiring):
            seen.append(x)
            return super().relaxed(x, wiring)

    x = torch.rand(6, 60)
    layer = convolution(Looking)
    layer(x).sum().backward()
    assert isinstance(seen[0], torch.Tensor) and seen[0].shape == (6, 4 * 3 * layer.placements.count)
    assert layer.logits.grad.abs().sum() > 0


def test_hooks_of_nodes_see_tensors_and_change_no_number():
    seen, layer, x = [], convolution(NODES["probabilistic"]), torch.rand(6, 60)

    def evaluated():
        y = layer(x)
        return y.detach(), *torch.autograd.grad(y.square().sum(), list(layer.parameters()))

    expected = evaluated()
    layer.node.register_forward_hook(lambda node, inputs, output: seen.append(inputs[0]))
    torch.testing.assert_close(evaluated(), expected)
    assert [type(x) for x in seen] == [torch.Tensor]
