"""Candidates of learned wirings that are drawn anew in training."""

from functools import partial

import pytest
import torch

from difflut.models import network
from difflut.registry import ENCODERS, LAYERS, NODES
from difflut.training import Trainer
from difflut.training.schedules import adam
from tests.training.continuing import assert_goes_on


def trainer(device="cpu", top_k=4, **options):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(256, (90, 8, 8), generator=generator, dtype=torch.uint8)
    y = torch.randint(3, (90,), generator=generator)
    bank = partial(LAYERS["learnable"], node_type=NODES["dwn"], n=3, top_k=top_k)
    layers = [partial(bank, output_size=6, kernel_size=3), LAYERS["pool"], partial(bank, output_size=12)]
    encoder = ENCODERS["distributive_thermometer"](num_bits=2).fit(x)
    model = network((8, 8), 3, encoder, layers, tau=2.0).to(device)
    options = {"optimizer": partial(adam, lr=0.05), "batch_size": 32} | options
    return Trainer(model, x.to(device), y.to(device), **options)


def candidates(trained):
    return [trained.model.layers[number].candidates.clone() for number in (0, 2)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_candidates_are_drawn_before_all_but_the_first_of_the_epochs(device):
    trained, drawn = trainer(device, redraw_epochs=3, graph=device == "cuda"), []
    for _ in range(5):
        before = candidates(trained)
        trained.run_epoch()
        drawn.append([not torch.equal(a, b) for a, b in zip(before, candidates(trained), strict=True)])
    assert drawn == [[False] * 2, [True] * 2, [True] * 2, [False] * 2, [False] * 2]


def test_settled_and_frozen_layers_keep_their_candidates():
    trained = trainer(redraw_epochs=5, wiring_epochs=3, freezes=[1, 1])
    trained.run_epoch()
    before = candidates(trained)
    trained.run_epoch()
    first, last = candidates(trained)
    assert torch.equal(first, before[0]) and not torch.equal(last, before[1])
    trained.run_epoch()
    before = candidates(trained)
    trained.run_epoch()
    assert all(map(torch.equal, candidates(trained), before))


def test_drawing_goes_on_as_if_it_had_never_stopped():
    assert_goes_on(partial(trainer, redraw_epochs=4), epochs=4, stop=2)


@pytest.mark.parametrize("top_k", [None, 1])
def test_drawing_needs_candidates(top_k):
    with pytest.raises(ValueError, match="redraw_epochs=3 has no effect: no layer has a top_k of at least 2 that is"):
        trainer(top_k=top_k, redraw_epochs=3)
