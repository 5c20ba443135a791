from functools import partial

import pytest
import torch

from difflut import kernels
from difflut.layers import GroupSum
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES, OPTIMIZERS
from difflut.training import Trainer
from difflut.training.losses import cross_entropy, distillation
from difflut.training.schedules import adam, cosine

pytestmark = pytest.mark.needs("c++")

NETWORKS = {
    "random": [("random", {"output_size": 48})],
    "all inputs": [("learnable", {"output_size": 48})],
    "candidates": [("learnable", {"output_size": 48, "top_k": 5})],
    "convolution": [("random", {"output_size": 8, "kernel_size": 3, "padding": 1}), ("pool", {})],
}


def trainer(graph, node="dwn", hidden="random", config=None, head=None, **options):
    torch.manual_seed(0)
    x = torch.randn(100, 4, 6)
    y = (x[:, 0, 0] > 0).long() + (x[:, 1, 1] > 0).long()
    encoder = ENCODERS["distributive_thermometer"](num_bits=3).fit(x)
    config = config or {}
    layers = [
        partial(LAYERS[name], **given, **({} if name == "pool" else {"node_type": NODES[node], "layer_config": config}))
        for name, given in NETWORKS[hidden]
    ]
    last = partial(LAYERS["random"], output_size=24, node_type=NODES[node], layer_config=config)
    model = network((4, 6), 3, encoder, [*layers, last], tau=2.0, seed=1, **(head or {}))
    options = {"batch_size": 32, "optimizer": partial(adam, lr=0.01), "loss": torch.nn.MultiMarginLoss()} | options
    return Trainer(model, x, y, graph=graph, **options)


def state(trained):
    return [tensor for tensor in trained.model.state_dict().values()]


@pytest.fixture
def passes(monkeypatch):
    """The batches that Python passed through a network."""
    seen, classify = [], LUTNetwork.classify
    monkeypatch.setattr(LUTNetwork, "classify", lambda self, x: seen.append(len(x)) or classify(self, x))
    return seen


@pytest.mark.parametrize("hidden", NETWORKS)
@pytest.mark.parametrize("node", NODES)
def test_recorded_steps_are_the_same_steps(node, hidden, passes):
    plain, recorded = (trainer(graph, node, hidden) for graph in (False, True))
    for _ in range(2):
        expected = plain.run_epoch()
        passes.clear()
        found = recorded.run_epoch()
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
        assert found["train_accuracy"] == pytest.approx(expected["train_accuracy"], abs=0.01)
    # The optimizer keeps what it knows of the choice among all inputs in Python.
    assert len(passes) == (4 if hidden == "all inputs" else 1)
    learns_wiring = hidden in ("all inputs", "candidates")  # where what is known to be bits decides how sums round
    torch.testing.assert_close(state(recorded), state(plain), rtol=0, atol=2e-3 if learns_wiring else 0)


@pytest.mark.parametrize("hidden", NETWORKS)
@pytest.mark.parametrize("node", ["dwn", "hybrid"])
def test_a_continued_run_of_recorded_steps_is_the_uninterrupted_one(node, hidden):
    whole, first, second = (trainer(True, node, hidden) for _ in range(3))
    expected = [whole.run_epoch()["train_loss"] for _ in range(3)]
    first.run_epoch()
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(first.state_dict())
    assert [second.run_epoch()["train_loss"] for _ in range(2)] == expected[1:]
    torch.testing.assert_close(state(second), state(whole), rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_recorded_steps_follow_rates_and_temperatures(optimizer, passes):
    options = {"optimizer": partial(optimizer, lr=0.05), "schedule": partial(cosine, epochs=3)}
    options |= {"head": {"group_sum": partial(GroupSum, tau_end=1.0, tau_steps=9)}}
    runs = [trainer(graph, **options) for graph in (False, True)]
    for trained in runs:
        rows = [trained.run_epoch() for _ in range(3)]
        assert rows[-1]["learning_rate"] < rows[0]["learning_rate"]
    torch.testing.assert_close(state(runs[1]), state(runs[0]), rtol=0, atol=0)
    # A full batch is passed twice and then repeated, the last one of an epoch, too; torch's optimizers keep the rate.
    follows = isinstance(runs[1].optimizer, kernels.Adam)
    assert len(passes) == 3 * 4 + (2 + 2 if follows else 3 * 3)


def test_each_recorded_step_flips_other_bits():
    trained = trainer(True, config={"flip_probability": 0.5}, optimizer=partial(adam, lr=1e-9), batch_size=100)
    losses = {trained.run_epoch()["train_loss"] for _ in range(5)}  # of the same rows and weights
    assert len(losses) == 5


def test_recorded_steps_see_new_samples_a_teacher_and_frozen_layers():
    def run(graph):
        options = {"augmentation": lambda x, generator: x + torch.randn(x.shape, generator=generator) / 2}
        options |= {"teacher": lambda x: x[:, 0, :3], "loss": distillation, "freezes": [2]}
        trained = trainer(graph, **options)
        return [trained.run_epoch()["train_loss"] for _ in range(4)], state(trained)

    (losses, weights), (same_losses, same_weights) = run(False), run(True)
    assert losses == pytest.approx(same_losses, rel=1e-6)
    torch.testing.assert_close(same_weights, weights, rtol=0, atol=0)


def test_recorded_steps_weigh_rows(passes):
    def weighted(logits, y, weights):
        return (torch.nn.functional.cross_entropy(logits, y, reduction="none") * weights).mean()

    weights = torch.rand(100, generator=torch.Generator().manual_seed(2)) * 3 + 0.1
    plain, recorded, even = (
        trainer(graph, "dwn", "candidates", loss=weighted, weights=given)
        for graph, given in ((False, weights), (True, weights), (True, torch.ones(100)))
    )
    expected = [plain.run_epoch()["train_loss"] for _ in range(3)]
    passes.clear()
    assert [recorded.run_epoch()["train_loss"] for _ in range(3)] == pytest.approx(expected, rel=1e-3)
    assert len(passes) == 2 + 2
    assert even.run_epoch()["train_loss"] != pytest.approx(expected[0], rel=1e-2)


def test_steps_without_a_gradient_of_each_parameter_follow_rates_too(passes):
    def run(graph):
        trained = trainer(graph, optimizer=partial(adam, lr=0.05), schedule=partial(cosine, epochs=3))
        unused = torch.nn.Parameter(torch.rand(5))  # with which `Adam` takes the step of torch
        trained.optimizer.add_param_group({"params": [unused]})
        for _ in range(3):
            trained.run_epoch()
        return state(trained)

    torch.testing.assert_close(run(True), run(False), rtol=0, atol=0)
    assert len(passes) == 2 * 3 * 4


def test_what_cannot_be_recorded_runs_as_it_is(passes):
    def by_value(logits, y):
        return torch.nn.functional.cross_entropy(logits, y) * (2.0 if logits.max().item() > 1 else 0.5)

    plain, asked = (trainer(graph, loss=by_value) for graph in (False, True))
    expected, found = (trained.run_epoch() for trained in (plain, asked))
    assert len(passes) == 2 * 4 and found["train_loss"] == pytest.approx(expected["train_loss"])
    torch.testing.assert_close(state(asked), state(plain), rtol=0, atol=0)


def test_double_precision_trains_without_a_graph():
    trained = trainer(False)
    samples = trained.samples
    doubled = Trainer(trained.model.double(), samples.x, samples.y, optimizer=adam, graph=True)
    assert not doubled.graph and doubled.run_epoch()["train_loss"] > 0


def test_recorded_cross_entropy_trains_like_that_of_torch():
    plain, recorded = (trainer(graph, loss=cross_entropy) for graph in (False, True))
    for _ in range(2):
        expected, found = plain.run_epoch(), recorded.run_epoch()
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
    torch.testing.assert_close(state(recorded), state(plain), rtol=0, atol=2e-3)  # a few steps in two roundings
