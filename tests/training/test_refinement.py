from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from difflut.encoders.detectors import edges
from difflut.layers import GroupSum
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES
from difflut.training import Trainer, evaluate
from difflut.training.hard_state import HardState
from difflut.training.refinement import CoordinateDescent
from difflut.training.schedules import adam, cosine
from tests.training.continuing import assert_goes_on

ROWS = 300


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, 5, generator=generator)
    return x, ((x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long())


def model(depth=1, node="dwn", seed=0, top_k=None, permuted=False, **options):
    torch.manual_seed(seed)
    kinds = [
        partial(LAYERS["learnable"], output_size=size, node_type=NODES[node], n=n, top_k=top_k, **options)
        for size, n in [(20, 3), (14, 1), (18, 4)][:depth]
    ]
    last = partial(LAYERS["learnable"], output_size=12, node_type=NODES[node], n=2, **options)
    encoder = ENCODERS["distributive_thermometer"](num_bits=3).fit(data()[0])
    return network((5,), 3, encoder, [*kinds, last], tau=1.3, use_randperm=permuted, seed=seed)


def loss(trained, x, y):
    with torch.no_grad():
        return F.cross_entropy(trained.eval()(x), y, reduction="none")


def with_constant_node(trained, number, node, value):
    """The losses of a network whose node gives a constant."""
    layer, (x, y) = trained.layers[number], data()
    before = layer.node.truth_table().float()
    table = before.clone()
    table[node] = value
    layer.node.load_table(table)
    found = loss(trained, x, y)
    layer.node.load_table(before)
    return found


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_the_difference_is_that_of_the_network_with_the_node_constant(depth):
    trained = model(depth, permuted=True)
    state = HardState(trained, *data())
    for number, layer in enumerate(trained.layers):
        for node in range(0, layer.output_size, 5):
            expected = with_constant_node(trained, number, node, 1) - with_constant_node(trained, number, node, 0)
            torch.testing.assert_close(state.difference(number, node), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_epoch_lowers_the_loss_and_the_model_is_what_the_state_says(depth):
    trained, (x, y) = model(depth), data()
    descent, generator = CoordinateDescent(trained), torch.Generator().manual_seed(3)
    last = loss(trained, x, y).sum().item()
    for _ in range(3):
        state = descent.begin(x, y)
        visits = [state.totals()[0] for _ in descent.visits(state, generator)]
        assert len(visits) == trained.num_luts
        assert all(after <= before + 1e-3 for before, after in zip([last, *visits], visits, strict=False))
        assert visits[-1] < last
        last, correct = state.totals()
        assert loss(trained, x, y).sum().item() == pytest.approx(last, rel=1e-4)
        assert evaluate(trained, x, y)["accuracy_hard"] == pytest.approx(correct / ROWS)


def test_no_other_entry_and_no_other_input_of_the_node_visited_last_is_better():
    trained, (x, y) = model(0, seed=4), data()
    descent = CoordinateDescent(trained, moves=40)
    state = descent.begin(x, y)
    visited = []
    change = state.change
    state.change = lambda number, node, table: visited.append(node) or change(number, node, table)
    for _ in descent.visits(state, torch.Generator().manual_seed(1)):
        pass
    layer, node, best = trained.layers[0], visited[-1], loss(trained, x, y).sum()
    wiring, table = layer.wiring(), layer.node.truth_table().float()
    for pin in range(2):
        for feature in range(15):
            for entries in range(2**4):
                moved, other = wiring.clone(), table.clone()
                moved[node, pin] = feature
                other[node, 0] = torch.tensor([entries >> address & 1 for address in range(4)])
                layer.load_wiring(moved)
                layer.node.load_table(other)
                assert loss(trained, x, y).sum() >= best - 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("node", sorted(name for name in NODES if NODES[name].holds_every_table))
def test_every_node_type_is_refined_in_every_precision(node, dtype):
    trained, (x, y) = model(0, node).to(dtype), data()
    descent = CoordinateDescent(trained)
    state = descent.begin(x, y)
    for _ in descent.visits(state, torch.Generator().manual_seed(0)):
        pass
    assert torch.equal(trained.layers[0].node.truth_table()[:, 0], state.levels[0].tables.bool())
    assert all(p.isfinite().all() for p in trained.parameters())
    assert evaluate(trained, x, y)["accuracy_hard"] == pytest.approx(state.totals()[1] / ROWS)


@pytest.mark.parametrize("depth", [0, 1])
def test_no_visit_raises_the_loss_however_few_rows_pins_choose_on(depth):
    trained, (x, y) = model(depth), data()
    descent, wirings = CoordinateDescent(trained, rows=12, moves=3), [trained.layers[0].wiring()]
    state = descent.begin(x, y)
    losses = [state.totals()[0]]
    for epoch in range(2):
        for _ in descent.visits(state, torch.Generator().manual_seed(epoch)):
            losses.append(state.totals()[0])
        wirings.append(trained.layers[0].wiring())
    assert all(after <= before + 1e-3 for before, after in pairwise(losses))  # of about 100
    assert (wirings[0] != wirings[1]).any() and losses[-1] < 0.9 * losses[0]


def test_pins_keep_to_their_candidates():
    trained, (x, y) = model(1, top_k=4), data()
    candidates, before = trained.layers[0].choices(), trained.layers[0].wiring()
    descent = CoordinateDescent(trained, moves=5)
    for _ in descent.visits(descent.begin(x, y), torch.Generator().manual_seed(0)):
        pass
    after = trained.layers[0].wiring()
    assert (after != before).any()
    assert (candidates == after[..., None]).any(2).all()


def test_a_random_wiring_stays():
    x, y = data()
    encoder = ENCODERS["thermometer"](num_bits=2).fit(x)
    layer = LAYERS["random"](input_size=10, output_size=9, node_type=NODES["dwn"], n=3, seed=1)
    trained = LUTNetwork(encoder, [layer], GroupSum(3, 2.0))
    before, lost = layer.wiring().clone(), loss(trained, x, y).sum()
    descent = CoordinateDescent(trained)
    for _ in descent.visits(descent.begin(x, y), torch.Generator().manual_seed(0)):
        pass
    assert torch.equal(layer.wiring(), before)
    assert loss(trained, x, y).sum() < lost


def bits_read(trained):
    return set(trained.layers[0].wiring().flatten().tolist())


def test_new_bits_of_the_encoder_are_worth_their_price():
    x, y = data()

    def refined(price):
        trained = model(0, seed=2)
        descent = CoordinateDescent(trained, moves=3, price=price)
        for epoch in range(3):
            for _ in descent.visits(descent.begin(x, y), torch.Generator().manual_seed(epoch)):
                pass
        return bits_read(trained), loss(trained, x, y).mean()

    before = bits_read(model(0, seed=2))
    (free, lost), (some, more), (dear, most) = refined(0.0), refined(0.004), refined(100.0)
    assert free - before
    assert len(dear) < len(before) and len(dear) < len(some) < len(free)
    assert lost < more < most


def responses_read(trained):
    """The responses of detectors, by number, that the first layer reads any bit of."""
    shape, bits = trained.encoder.feature_shape, trained.encoder.num_bits
    features = trained.layers[0].hard().wiring.unique() // bits
    return set(features[features % (shape[2] + len(trained.encoder.detectors)) >= shape[2]].tolist())


def test_a_response_that_nobody_reads_is_worth_the_price_of_its_sums(monkeypatch):
    x = torch.randint(256, (ROWS, 4, 4, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    y = (x[:, 1, 1, 0] > x[:, 1, 3, 0]).long() + (x[:, 2, 1, 0] > 128).long()

    def refined(price):
        torch.manual_seed(0)
        layers = [partial(LAYERS["learnable"], output_size=size, node_type=NODES["dwn"], n=2) for size in (15, 12)]
        encoder = ENCODERS["distributive_thermometer"](num_bits=3, detectors=edges()).fit(x)
        trained = network((4, 4, 1), 3, encoder, layers, tau=1.3)
        before, descent = responses_read(trained), CoordinateDescent(trained, moves=3, price=price)
        for epoch in range(2):
            for _ in descent.visits(descent.begin(x, y), torch.Generator().manual_seed(epoch)):
                pass
        return before, responses_read(trained)

    before, free = refined(0.0)
    _, some = refined(0.0004)
    _, dear = refined(100.0)
    assert free - before and dear <= before and len(some) < len(free)
    monkeypatch.setattr("difflut.training.refinement.sum_costs", lambda circuit, words: np.zeros(circuit.num_features))
    assert len(refined(0.0004)[1]) > len(some)  # comparisons alone are cheap


def test_readers_are_counted_as_pins_move(monkeypatch):
    import difflut.training.refinement as module

    kept, (x, y), trained = [], data(), model(1)
    pins = module.Pins
    monkeypatch.setattr(module, "Pins", lambda *parts: kept.append(pins(*parts)) or kept[-1])
    descent = CoordinateDescent(trained, moves=4)
    for _ in descent.visits(descent.begin(x, y), torch.Generator().manual_seed(0)):
        pass
    for some, layer in zip(kept, trained.layers, strict=True):
        assert torch.equal(some.readers, torch.bincount(layer.wiring().flatten(), minlength=len(some.bits)))
    assert (kept[0].readers.sum(), kept[1].readers.sum()) == (60, 24)


def trainer(trained, **options):
    return Trainer(
        trained, *data(), batch_size=32, optimizer=partial(adam, lr=0.02), schedule=partial(cosine, epochs=2), **options
    )


def refined_trainer():
    return trainer(model(1), refinement=partial(CoordinateDescent, rows=50), refined_from=2)


def test_the_trainer_refines_from_an_epoch_on():
    trained, rows = refined_trainer(), []
    for epoch in range(4):
        assert trained.refines == (epoch >= 2)
        rows.append(trained.run_epoch())
    assert rows[2]["train_accuracy"] > rows[1]["train_accuracy"]
    assert rows[3]["learning_rate"] == rows[2]["learning_rate"] < rows[1]["learning_rate"]


def test_refinement_goes_on_as_if_it_had_not_stopped():
    assert_goes_on(refined_trainer, epochs=4, stop=3)


def seen_in_two_epochs(**options):
    seen = []

    class Watched(CoordinateDescent):
        def begin(self, x, y):
            seen.append((x, y))
            return super().begin(x, y)

    def louder(x, generator):
        return x + torch.rand(x.shape, generator=generator)

    trained = trainer(model(0), refinement=partial(Watched, **options), augmentation=louder)
    trained.run_epoch()
    trained.run_epoch()
    return seen


def test_all_epochs_may_see_the_samples_and_one_set_of_copies():
    (x, y), (first, second) = data(), seen_in_two_epochs(copies=2, redraws=False)
    assert torch.equal(first[0], second[0]) and torch.equal(first[0][:ROWS], x)
    assert torch.equal(first[1], torch.cat([y, y, y])) and torch.equal(first[1], second[1])
    copies = first[0][ROWS:].view(2, ROWS, 5) - x
    assert ((copies >= 0) & (copies < 1)).all() and (copies[0] != copies[1]).any()


def test_an_epoch_sees_several_augmented_copies():
    (x, y), seen = data(), seen_in_two_epochs(copies=3)
    for found, labels in seen:
        assert torch.equal(labels, torch.cat([y, y, y]))
        parts = found.view(3, ROWS, 5) - x
        assert ((parts >= 0) & (parts < 1)).all()
        assert (parts[0] != parts[1]).any() and (parts[1] != parts[2]).any()
    assert (seen[0][0] != seen[1][0]).any()


def test_progress_counts_nodes():
    trained = trainer(model(1), refinement=CoordinateDescent, refined_from=0)
    steps, shown = trained.steps_per_epoch, []
    trained.run_epoch(lambda number, metrics: shown.append((number, metrics()["train_accuracy"])))
    assert [number for number, _ in shown] == list(range(1, steps + 1))
    assert 0.2 < shown[0][1] < shown[-1][1] <= 1


@pytest.mark.parametrize(
    ("layers", "head", "error"),
    [
        ([{"type": "learnable"}], None, "needs a group sum"),
        ([{"type": "learnable", "kernel_size": 2}], GroupSum(2), r"layers\[0\] is a convolution"),
        ([{"type": "learnable", "node_kwargs": {"output_dim": 2}}], GroupSum(2), r"nodes DWN of 2 outputs"),
        ([{"type": "random"}, {"type": "random", "reads": ["encoder"]}], GroupSum(2), r"layers\[1\] has reads="),
    ],
)
def test_refuses_other_networks(layers, head, error):
    built = []
    for layer in layers:
        kind = LAYERS[layer["type"]]
        options = {key: value for key, value in layer.items() if key != "type"}
        size = [1, 4, 4] if "kernel_size" in options else 16
        built.append(kind(input_size=size, output_size=16, node_type=NODES["dwn"], n=2, **options))
    with pytest.raises(ValueError, match=error):
        CoordinateDescent(LUTNetwork(None, built, head))
    with pytest.raises(ValueError, match="rows=0"):
        CoordinateDescent(model(), rows=0)


def random_network(encoder):
    layer = LAYERS["random"](input_size=15, output_size=12, node_type=NODES["dwn"], n=2)
    return LUTNetwork(encoder, [layer], GroupSum(3))


@pytest.mark.parametrize("options", [{"price": 0.1}, {"moves": 2}, {"rows": 7}])
def test_options_of_pins_are_refused_where_none_may_move(options):
    encoder, name = model().encoder, next(iter(options))
    with pytest.raises(ValueError, match=f"{name}={options[name]}.* ha(s|ve) no effect"):
        CoordinateDescent(random_network(encoder), **options)
    CoordinateDescent(model(), **options)
    if name != "moves":
        with pytest.raises(ValueError, match=f"{name}={options[name]}.* ha(s|ve) no effect"):
            CoordinateDescent(model(), moves=0, **options)


def test_a_price_needs_an_encoder_and_copies_an_augmentation():
    trained = model()
    trained.encoder = None
    with pytest.raises(ValueError, match=r"price=0\.1 .* the network has no encoder"):
        CoordinateDescent(trained, price=0.1)
    with pytest.raises(ValueError, match="copies=3 has no effect without an augmentation"):
        trainer(model(), refinement=partial(CoordinateDescent, copies=3))
    with pytest.raises(ValueError, match="redraws=False has no effect without an augmentation"):
        trainer(model(), refinement=partial(CoordinateDescent, redraws=False))
