from functools import partial

import pytest
import torch

from difflut.models import load_checkpoint, network, save_checkpoint
from difflut.nodes import freeze, relaxed
from difflut.registry import ENCODERS, LAYERS, NODES
from difflut.training import Trainer, evaluate
from difflut.training.freezing import front_to_back
from difflut.training.schedules import adam, cosine
from tests.training.continuing import assert_goes_on


def trainer(node="difflogic", graph=False, device="cpu", regularizers=(), **options):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(256, (90, 8, 8), generator=generator, dtype=torch.uint8)
    y = torch.randint(3, (90,), generator=generator)
    bank = partial(LAYERS["random"], node_type=NODES[node], n=2, node_kwargs={"regularizers": list(regularizers)})
    layers = [
        partial(bank, output_size=8, kernel_size=3),
        partial(LAYERS["tree"], node_type=NODES[node], n=2),
        LAYERS["pool"],
        partial(bank, output_size=24),
        partial(bank, output_size=12),
    ]
    encoder = ENCODERS["distributive_thermometer"](num_bits=2).fit(x)
    model = network((8, 8), 3, encoder, layers, tau=2.0).to(device)
    options = {"optimizer": partial(adam, lr=0.05), "batch_size": 32} | options
    return Trainer(model, x.to(device), y.to(device), graph=graph, **options)


def weights(trained):
    return [[p.detach().clone() for p in layer.parameters()] for layer in trained.model.layers]


def changed(before, after):
    return [any(not torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in zip(before, after, strict=True)]


def test_layers_are_frozen_in_order_and_the_last_one_never():
    layers = trainer().model.layers
    assert front_to_back(layers, 20, 0.4, 0.8) == [8, 12, 12, 16]
    assert front_to_back(layers, 20, 0.4, 1.0) == [8, 14, 14, 20]
    assert front_to_back(layers[:2], 10, 0.5, 0.9) == [5]
    assert front_to_back(layers[:3], 10, 0.5, 0.9) == [5, 10]  # the last one has nothing to learn


@pytest.mark.parametrize("shares", [(0.9, 0.4), (-0.1, 0.5), (0.5, 1.1)])
def test_shares_out_of_order_are_refused(shares):
    with pytest.raises(ValueError, match="must be two shares of the epochs in order"):
        front_to_back(trainer().model.layers, 20, *shares)


@pytest.mark.parametrize(("chosen", "shares"), [([0], (0.4, 0.8)), ([0, 2], (0.4, 0.8)), ([0, 1, 3], (0.99, 1.0))])
def test_shares_that_freeze_nothing_are_refused(chosen, shares):
    layers = trainer().model.layers
    with pytest.raises(ValueError, match=rf"freezing=\({shares[0]}, .* has no effect: .* not within the 20 epochs"):
        front_to_back([layers[number] for number in chosen], 20, *shares)


def test_epochs_that_do_not_fit_the_layers_are_refused():
    for freezes in ([1, 2], [3, 2, 2, 4]):
        with pytest.raises(ValueError, match="must hold ascending epochs, one for each of the 5 layers but the last"):
            trainer(freezes=freezes)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("node", ["difflogic", "light", "dwn"])
def test_a_frozen_layer_is_its_tables_and_those_behind_it_learn(node, device):
    trained = trainer(node, graph=device == "cuda", device=device, freezes=[1, 1, 1, 2])
    learned = []
    for _ in range(3):
        before = weights(trained)
        trained.run_epoch()
        learned.append(changed(before, weights(trained)))
    assert learned == [
        [True, True, False, True, True],
        [False, False, False, True, True],
        [False, False, False, False, True],
    ]
    model = trained.model
    bits = model.encode(trained.samples.x)
    in_training = bits
    for layer in model.layers[:4]:
        in_training = layer(in_training)
    model.eval()
    for layer in model.layers[:4]:
        bits = layer(bits)
    assert torch.equal(in_training.float(), bits.float())


@pytest.mark.parametrize("node", ["difflogic", "light", "probabilistic"])
def test_the_relaxed_network_is_the_one_that_trained(node, tmp_path):
    trained = trainer(node, freezes=[0, 1, 1, 1])
    for _ in range(2):
        trained.run_epoch()
    model, x = trained.model, trained.samples.x
    with torch.no_grad():
        expected = model(x)
    save_checkpoint(model, tmp_path / "network.pt")
    for saved in (model.eval(), load_checkpoint(tmp_path / "network.pt")):
        hard = saved(x)
        with torch.no_grad(), relaxed(saved):
            torch.testing.assert_close(saved(x), expected, rtol=1e-6, atol=1e-6)
        assert not torch.equal(hard, expected)
        assert torch.equal(saved(x), hard)


def test_a_network_that_is_frozen_as_a_whole_has_no_gap():
    trained = trainer()
    x, y = trained.samples.x, trained.samples.y
    with torch.no_grad(), relaxed(trained.model.eval()) as model:
        soft = model(x)
    freeze(trained.model.layers)
    with torch.no_grad(), relaxed(trained.model) as model:
        assert not torch.equal(model(x), soft)
    assert evaluate(trained.model, x, y)["gap"] == 0


def test_what_is_frozen_has_no_part_in_the_regularization():
    trained = trainer("light", freezes=[1, 1, 1, 2], regularizers=["l2"])
    sums = []
    for _ in range(3):
        trained.run_epoch()
        sums.append((trained.model.regularization(), [layer.regularization() for layer in trained.model.layers[3:]]))
    assert sums[0][0] > sum(sums[0][1])
    torch.testing.assert_close(sums[1][0], sum(sums[1][1]))
    torch.testing.assert_close(sums[2][0], sums[2][1][-1])
    freeze(trained.model.layers)
    assert trained.model.regularization() is None


def test_a_network_of_double_precision_freezes_too():
    trained = trainer(freezes=[0, 1, 1, 1])
    trained.model.double()
    trained.optimizer = adam(trained.model.parameters(), lr=0.05)
    before = weights(trained)
    for _ in range(2):
        trained.run_epoch()
    assert changed(before, weights(trained)) == [False, True, False, True, True]


def test_a_continued_run_is_the_uninterrupted_one():
    options = {"schedule": partial(cosine, epochs=4, hold=0.5), "freezes": [1, 2, 2, 3]}
    assert_goes_on(partial(trainer, **options), epochs=4, stop=2)


def test_a_held_rate_falls_in_the_epochs_that_are_left():
    trained = trainer(schedule=partial(cosine, epochs=6, hold=0.5))
    rates = [trained.run_epoch()["learning_rate"] for _ in range(6)]
    assert rates == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.0375, 0.0125])
    with pytest.raises(ValueError, match="hold=1 must be a share of the epochs"):
        trainer(schedule=partial(cosine, epochs=6, hold=1))


def learned(device="cpu", **options):
    """A trainer of learned wirings: a convolution, among all inputs, and among candidates."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(256, (90, 8, 8), generator=generator, dtype=torch.uint8)
    y = torch.randint(3, (90,), generator=generator)
    bank = partial(LAYERS["learnable"], node_type=NODES["dwn"], n=3)
    layers = [partial(bank, output_size=6, kernel_size=3, top_k=9), LAYERS["pool"], partial(bank, output_size=24)]
    layers.append(partial(bank, output_size=12, top_k=4))
    encoder = ENCODERS["distributive_thermometer"](num_bits=2).fit(x)
    model = network((8, 8), 3, encoder, layers, tau=2.0).to(device)
    options = {"optimizer": partial(adam, lr=0.05), "batch_size": 32} | options
    return Trainer(model, x.to(device), y.to(device), **options)


def wirings(trained):
    return [layer.wiring().clone() for layer in trained.model.layers if hasattr(layer, "logits")]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_settled_wirings_stay_and_tables_learn(device):
    trained, moved = learned(device, wiring_epochs=2, graph=device == "cuda"), []
    for _ in range(4):
        before, weights_before = wirings(trained), weights(trained)
        trained.run_epoch()
        moved.append([not torch.equal(a, b) for a, b in zip(before, wirings(trained), strict=True)])
        assert changed(weights_before, weights(trained)) == [True, False, True, True]
    assert all(map(any, moved[:2])) and not any(map(any, moved[2:]))


def test_settled_wirings_train_as_fixed_ones():
    trained, fixed = learned(wiring_epochs=0), []
    for layer in trained.model.layers:
        if not hasattr(layer, "logits"):
            fixed.append(layer)
            continue
        size = layer.input_size if layer.placements.is_dense else tuple(layer.input_size)
        twin = LAYERS["random"](
            size, layer.output_size, NODES["dwn"], n=3, kernel_size=layer.get_params().get("kernel_size")
        )
        twin.mapping.copy_(layer.wiring())
        twin.node.load_state_dict(layer.node.state_dict())
        fixed.append(twin)
    model = type(trained.model)(trained.model.encoder, fixed, trained.model.groupsum)
    x, y = trained.samples.x, trained.samples.y
    other = Trainer(model, x, y, optimizer=partial(adam, lr=0.05), batch_size=32)
    losses = [[some.run_epoch()["train_loss"] for _ in range(3)] for some in (trained, other)]
    assert losses[0] == losses[1] and losses[0][2] < losses[0][0]


def test_a_settled_wiring_that_is_loaded_is_another_one():
    layer = learned().model.layers[3]
    layer.logits.requires_grad_(False)
    first = layer.wiring()
    assert layer.wiring() is first
    other = layer.choices()[..., 1]
    layer.load_wiring(other)
    assert torch.equal(layer.wiring(), other) and not torch.equal(first, other)


def test_wirings_go_on_as_settled():
    assert_goes_on(partial(learned, wiring_epochs=1), epochs=3, stop=2)


def test_epochs_of_wirings_need_one_that_learns():
    with pytest.raises(ValueError, match="wiring_epochs=1 has no effect: no layer of the network learns its wiring"):
        trainer("dwn", wiring_epochs=1)
