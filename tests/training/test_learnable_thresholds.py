from functools import partial

import pytest
import torch

from difflut.circuits import Circuit
from difflut.models import hardened, load_checkpoint, network, save_checkpoint
from difflut.registry import ENCODERS, LAYERS, NODES
from difflut.training import Trainer, evaluate
from difflut.training.refinement import CoordinateDescent
from difflut.training.schedules import adam
from tests.training.continuing import assert_goes_on

LAYER_KINDS = {
    "random": {},
    "learnable": {},
    "soft": {"selection": "soft"},
    "top_k": {"top_k": 4},
    "conv": {"kernel_size": 2},
}


def data(rows=400):
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(rows, 3, 3, generator=generator)
    return x, (x[:, 0, 0] > 0.83).long() + (x[:, 2, 1] > 0.21).long()


def trainer(node="dwn", kind="learnable", encoder="thermometer", lr=0.02, **options):
    torch.manual_seed(0)
    x, y = data()
    layer = LAYERS["random" if kind in ("random", "conv") else "learnable"]
    first = partial(layer, output_size=36, node_type=NODES[node], n=2, **LAYER_KINDS[kind])
    last = partial(LAYERS["random"], output_size=24, node_type=NODES[node], n=2)
    made = ENCODERS[encoder](num_bits=2, feature_wise=False, learnable=True).fit(x)
    model = network((3, 3), 3, made, [first, last], tau=2.0)
    return Trainer(model, x, y, batch_size=50, optimizer=partial(adam, lr=lr), **options)


def test_thresholds_are_found():
    x, y = data()
    torch.manual_seed(0)
    encoder = ENCODERS["thermometer"](num_bits=1, learnable=True).fit(x)
    tables = partial(LAYERS["random"], output_size=30, node_type=NODES["dwn"], n=4)
    trained = Trainer(
        network((3, 3), 3, encoder, [tables], tau=2.0), x, y, batch_size=50, optimizer=partial(adam, lr=0.02)
    )
    for _ in range(40):
        trained.run_epoch()
    assert evaluate(trained.model, x, y)["accuracy_hard"] > 0.9  # thresholds at one half get 0.74 right at best
    found = encoder.hard_thresholds().view(3, 3)
    assert abs(found[0, 0] - 0.83) < 0.05 and abs(found[2, 1] - 0.21) < 0.05


@pytest.mark.parametrize("kind", LAYER_KINDS)
@pytest.mark.parametrize("node", NODES)
def test_thresholds_learn_under_every_node_and_wiring(node, kind):
    trained = trainer(node, kind)
    before = trained.model.encoder.moves.detach().clone()
    trained.run_epoch()
    moved = trained.model.encoder.moves.detach()
    assert moved.isfinite().all() and (moved != before).any()


@pytest.mark.parametrize("encoder", ["thermometer", "gray", "onehot"])
def test_what_was_trained_is_evaluated_exported_and_kept(encoder, tmp_path):
    trained, (x, _) = trainer(encoder=encoder, lr=0.1), data()
    for _ in range(3):
        trained.run_epoch()
    model = trained.model
    circuit = Circuit.from_model(model)  # as the last step left it
    expected = model.eval()(x)
    assert (model.encoder.moves != 0).all()
    assert torch.equal(torch.from_numpy(circuit.counts(x.numpy())).float() / 2.0, expected)
    for hard in (False, True):
        save_checkpoint(model, tmp_path / "network.pt", hard=hard)
        loaded = load_checkpoint(tmp_path / "network.pt")
        assert torch.equal(loaded(x), expected) and loaded.encoder.learnable is not hard
    assert torch.equal(hardened(model)(x), expected)


def test_a_continued_run_is_the_uninterrupted_one():
    assert_goes_on(trainer, epochs=4, stop=2)


def test_frozen_layers_freeze_the_thresholds_and_descent_keeps_them():
    trained = trainer(freezes=[1], refined_from=2, refinement=partial(CoordinateDescent, rows=200))
    moves, seen = trained.model.encoder.moves, []
    for _ in range(3):
        trained.run_epoch()
        seen.append(moves.detach().clone())
    assert (seen[0] != 0).any() and torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])


def test_captured_steps_are_refused():
    with pytest.raises(ValueError, match="learnable thresholds change these in each step; set graph=False"):
        trainer(graph=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_layers_of_another_type_read_learnable_thresholds(dtype):
    trained, (x, _) = trainer("probabilistic"), data()
    model = trained.model.to(dtype)
    model(x).sum().backward()
    assert model.encoder.moves.dtype == torch.float32 and (model.encoder.moves.grad != 0).any()


@pytest.mark.cuda
@pytest.mark.parametrize("kind", LAYER_KINDS)
@pytest.mark.parametrize("node", ["dwn", "probabilistic"])
def test_a_gpu_gives_the_same_gradient(node, kind):
    (x, y), gradients = data(), []
    for device in ("cpu", "cuda"):
        model = trainer(node, kind).model.to(device)
        torch.nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        gradients.append(model.encoder.moves.grad.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)  # sums run in another order
