import gc
from functools import partial

import pytest
import torch

from difflut.models import network
from difflut.registry import ENCODERS, LAYERS, NODES, OPTIMIZERS, REGULARIZERS
from difflut.training import DivergedError, Trainer, evaluate, predict, table_statistics
from difflut.training.evaluation import rows_at_once
from difflut.training.schedules import adam, cosine, milestones, step
from tests.training.continuing import assert_goes_on


def data(rows=200):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 6, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def trainer(node="dwn", seed=0, lr=0.02, flip=0.1, schedule=None, **options):
    torch.manual_seed(seed)
    hidden = partial(
        LAYERS["learnable"], output_size=48, node_type=NODES[node], n=2, layer_config={"flip_probability": flip}
    )
    output = partial(LAYERS["random"], output_size=24, node_type=NODES[node], n=2)
    x, y = data()
    encoder = ENCODERS["distributive_thermometer"](num_bits=3).fit(x)
    model = network((6,), 3, encoder, [hidden, output], tau=2.0, seed=seed)
    return Trainer(model, x, y, batch_size=32, optimizer=partial(adam, lr=lr), schedule=schedule, seed=seed, **options)


def parameters(trained):
    return torch.cat([parameter.detach().flatten() for parameter in trained.model.parameters()])


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_learns(node):
    trained = trainer(node, flip=0.0, lr=0.05)
    x, y = data()
    for _ in range(25):
        trained.run_epoch()
    # Of the three classes the largest holds about half of the rows.
    assert evaluate(trained.model, x, y)["accuracy_hard"] > 0.75


def test_one_seed_decides_everything():
    def run(seed):
        trained = trainer(seed=seed)
        return [trained.run_epoch()["train_loss"] for _ in range(2)], parameters(trained)

    (first, weights), (again, same_weights), (other, _) = run(0), run(0), run(1)
    assert first == again != other
    assert torch.equal(weights, same_weights)


@pytest.mark.parametrize("node", ["dwn", "light", "neurallut"])
def test_a_continued_run_is_the_uninterrupted_one(node):
    assert_goes_on(partial(trainer, node, schedule=partial(cosine, epochs=4)), epochs=4, stop=2)


def test_a_state_goes_on_with_the_schedule_of_a_longer_training():
    short, whole = (trainer(schedule=partial(cosine, epochs=epochs)) for epochs in (2, 5))
    for _ in range(2):
        short.run_epoch()
    longer = trainer(schedule=partial(cosine, epochs=5))
    longer.load_state_dict(short.state_dict())
    rates = [whole.run_epoch()["learning_rate"] for _ in range(5)]
    assert [longer.run_epoch()["learning_rate"] for _ in range(3)] == rates[2:] and longer.epoch == 5


@pytest.mark.parametrize("schedule", [None, partial(cosine, epochs=4)])
def test_a_state_of_other_training_is_refused(schedule):
    first = trainer(schedule=schedule)
    first.run_epoch()
    state, (x, y) = first.state_dict(), data()
    with pytest.raises(ValueError, match=r"Adam with lr=0\.02, not 0\.03"):
        trainer(lr=0.03, schedule=schedule).load_state_dict(state)
    others = {
        "SGD": OPTIMIZERS["sgd"],
        r"betas=\(0.9, 0.999\), not \(0.5, 0.999\)": partial(adam, lr=0.02, betas=(0.5, 0.999)),
    }
    for said, optimizer in others.items():
        with pytest.raises(ValueError, match=said):
            Trainer(first.model, x, y, optimizer=optimizer, schedule=schedule).load_state_dict(state)
    for rows in ((x.flip(0), y), (x, y.flip(0)), (x[:-1], y[:-1]), (x.double(), y)):
        with pytest.raises(ValueError, match="on other samples"):
            Trainer(first.model, *rows, optimizer=partial(adam, lr=0.02), schedule=schedule).load_state_dict(state)


def test_an_epoch_visits_every_row_once_in_a_new_order():
    trained = trainer()
    epochs = []
    for epoch in range(2):
        trained.epoch = epoch
        batches = list(trained.batches())
        assert [len(y) for _, (_, y) in batches] == [32] * 6 + [8] and trained.steps_per_epoch == 7
        epochs.append(torch.cat([x for _, (x, _) in batches]))
    assert torch.equal(epochs[0].sort(0).values, data()[0].sort(0).values)
    assert not torch.equal(epochs[0], epochs[1])


def test_the_regularizers_are_part_of_the_loss():
    plain, regularized = trainer("probabilistic"), trainer("probabilistic")
    for layer in regularized.model.layers:
        layer.node.regularizers = {"l2": lambda node: 1000 * REGULARIZERS["l2"](node)}
    for _ in range(3):
        plain.run_epoch()
        regularized.run_epoch()
    roughness = [REGULARIZERS["l2"](t.model.layers[0].node).item() for t in (plain, regularized)]
    assert roughness[1] < 0.8 * roughness[0]


def test_a_loss_that_is_not_finite_stops_the_training():
    diverging = trainer(loss=lambda logits, y: logits.sum() * float("nan"))
    with pytest.raises(DivergedError, match="loss became nan in epoch 1; lower the learning rate"):
        diverging.run_epoch()


def test_data_that_do_not_fit_are_named():
    good = trainer()
    with pytest.raises(ValueError, match="got 200 inputs and 199 labels"):
        Trainer(good.model, good.samples.x, good.samples.y[1:], optimizer=adam)
    with pytest.raises(ValueError, match="batch_size=0"):
        Trainer(good.model, good.samples.x, good.samples.y, optimizer=adam, batch_size=0)


def test_progress_is_told_after_each_step():
    steps = []
    trainer().run_epoch(lambda step, metrics: steps.append((step, metrics()["train_loss"])))
    assert [step for step, _ in steps] == list(range(1, 8)) and all(loss > 0 for _, loss in steps)


def test_the_gap_is_relaxed_minus_hard_and_modes_are_kept():
    trained = trainer("probabilistic", flip=0.0)
    x, y = data()
    scores = evaluate(trained.model, x, y)
    assert scores["gap"] == scores["accuracy_relaxed"] - scores["accuracy_hard"] != 0
    assert trained.model.training
    assert scores["accuracy_hard"] == (predict(trained.model, x, batch_size=7) == y).sum().item() / len(y)


def test_table_statistics_count_constant_and_saturated_tables():
    trained = trainer("probabilistic")
    logits = trained.model.layers[1].node.logits
    with torch.no_grad():
        logits.uniform_(-1, 1)
        logits[:, :, 0], logits[:, :, 1] = -1, 1
        logits[:6] = 10.0
        logits[:2] = -10.0  # constant 0 counts as constant 1 does
        logits[6:12, :, 0] = -10.0
        logits[12:18, :, 0], logits[18:, :, 1] = -3.0, 3.0  # 5 % from a bit
    hidden, output = table_statistics(trained.model)
    assert output == {"layer": 1, "constant": 6 / 24, "saturated": (6 * 4 + 6 * 1) / (24 * 4)}
    assert hidden["layer"] == 0


def test_schedules_change_the_rate_as_published():
    def rates(schedule, epochs):
        optimizer = adam([torch.nn.Parameter(torch.rand(2))], lr=1.0)
        made = schedule(optimizer, epochs=epochs)
        seen = []
        for _ in range(epochs):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            made.step()
        return seen

    assert rates(partial(step, every=2, gamma=0.1), 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rates(partial(milestones, at=[1, 3]), 5) == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])
    assert rates(cosine, 4) == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


@pytest.mark.cuda
@pytest.mark.parametrize("node", ["dwn", "dwn_stable", "hybrid", "probabilistic", "warp", "fourier"])
def test_replayed_steps_are_the_same_steps(node):
    def run(graph, epochs=2):
        trained = trainer(node, flip=0.0)
        model, x, y = trained.model.cuda(), trained.samples.x.cuda(), trained.samples.y.cuda()
        schedule = partial(step, epochs=epochs, every=1)
        options = {"optimizer": partial(adam, lr=0.001), "schedule": schedule, "graph": graph}
        trained = Trainer(model, x, y, batch_size=32, **options)
        return [trained.run_epoch() for _ in range(epochs)], parameters(trained)

    (plain, weights), (replayed, same_weights) = run(False), run(True)
    for one, other in zip(plain, replayed, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
        assert one["train_accuracy"] == pytest.approx(other["train_accuracy"], abs=0.01)
    torch.testing.assert_close(weights, same_weights, rtol=0, atol=2e-3)  # a few steps of Adam in two roundings


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_graph_takes_any_optimizer_and_loss(optimizer):
    trained = trainer(flip=0.1)
    trained = Trainer(
        trained.model.cuda(),
        trained.samples.x.cuda(),
        trained.samples.y.cuda(),
        batch_size=32,
        optimizer=optimizer,
        schedule=partial(cosine, epochs=3),
        loss=torch.nn.MultiMarginLoss(),
        graph=True,
    )
    rows = [trained.run_epoch() for _ in range(3)]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


@pytest.mark.cuda
def test_graphs_of_an_earlier_training_are_not_freed_while_one_is_captured():
    def loss(logits, y):
        if torch.cuda.is_current_stream_capturing():
            gc.collect()  # as may happen at any time
        return torch.nn.functional.multi_margin_loss(logits, y)

    def trained():
        made = trainer(flip=0.0)
        x, y = made.samples.x.cuda(), made.samples.y.cuda()
        made = Trainer(made.model.cuda(), x, y, batch_size=32, optimizer=adam, loss=loss, graph=True)
        return made, [made.run_epoch()["train_loss"] for _ in range(3)]

    gc.disable()
    try:
        earlier, losses = trained()
        earlier.model.cycle = [earlier]  # so that only the collector frees it
        del earlier
        assert trained()[1] == pytest.approx(losses, rel=1e-3)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "labels,message",
    [
        (lambda y: y + 1, "labels go from 1 to 3, the network has 3 classes, 0 to 2"),
        (lambda y: y - 1, "labels go from -1"),
        (lambda y: y.float(), "whole numbers; got torch.float32"),
        (lambda y: y == 0, "whole numbers; got torch.bool"),
        (lambda y: y.unsqueeze(1), "200 inputs and 200 x 1 labels"),
        (lambda y: y[:0], "200 inputs and 0 labels"),
    ],
)
def test_labels_that_are_no_classes_of_the_network_are_refused(labels, message):
    (x, y), model = data(), trainer().model
    with pytest.raises(ValueError, match=message):
        Trainer(model, x, labels(y), optimizer=adam)
    with pytest.raises(ValueError, match=message):
        evaluate(model, x, labels(y))


@pytest.mark.parametrize(
    "bits,most,rows", [(2**16, 4096, 4096), (2**18, 4096, 1024), (2**18, 100, 100), (2**30, 9, 1), (0, 5, 5)]
)
def test_rows_at_once_hold_a_bounded_number_of_bits(bits, most, rows):
    assert rows_at_once(bits, most) == rows
