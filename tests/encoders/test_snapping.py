from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits.arithmetic.words import fixed_point_words, pixel_words
from difflut.encoders import Binary, DistributiveThermometer
from difflut.encoders.snapping import snapped, snapped_whole
from tests.circuits.networks import random_circuit


def circuit_of(thresholds):
    """A circuit with these thresholds, of which only they matter."""
    circuit = random_circuit(0)
    return replace(circuit, thresholds=thresholds.to(torch.float32).numpy())


@pytest.mark.parametrize("bits", [2, 3, 5, 8, 14])
def test_words_of_so_many_bits_tell_snapped_thresholds_apart(bits):
    generator = torch.Generator().manual_seed(bits)
    for scale, shift in ((1, 0), (1e-4, 0), (3, 1000), (1e6, -5)):
        thresholds = (torch.randn(4, 3, generator=generator, dtype=torch.float64) * scale + shift).sort(1).values
        found = snapped(thresholds.float(), bits)
        words = fixed_point_words(circuit_of(found))
        assert words.needed <= bits and (found.diff(dim=1) >= 0).all()
        step = (thresholds[:, -1:] - thresholds[:, :1]) / (2**bits - 3)
        assert bits == 2 or ((found - thresholds).abs() <= 1.01 * step + 1e-4 * scale).all()


@pytest.mark.parametrize("bits", [1, 3, 6, 8])
def test_pixels_are_compared_by_their_highest_bits(bits):
    thresholds = torch.rand(4, 3, generator=torch.Generator().manual_seed(bits)).mul(254).sort(1).values
    found = snapped_whole(thresholds, bits)
    step = 2 ** (8 - bits)
    limits = pixel_words(circuit_of(found)).limits
    assert ((limits + 1) % step == 0).all() and (limits >= 0).all() and (limits < 255).all()
    nearest = np.abs(limits + 1 - (np.floor(thresholds.numpy()) + 1)) <= step / 2
    assert (nearest | (limits + 1 == step) | (limits + 1 == 256 - step)).all()


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_what_no_pixel_passes_or_all_do_stays(bits):
    thresholds = torch.tensor([[-3.5, -1.0, 255.0, 260.25]], dtype=torch.float64)
    assert torch.equal(snapped_whole(thresholds, bits), thresholds)


def test_an_encoder_snaps_what_it_fits():
    pixels = torch.randint(256, (200, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    coarse = DistributiveThermometer(3, word_bits=2).fit(pixels)
    assert set(coarse.thresholds.flatten().tolist()) <= {63.5, 127.5, 191.5}
    reals = DistributiveThermometer(3, word_bits=4).fit(pixels / 255)
    assert fixed_point_words(circuit_of(reals.thresholds)).needed <= 4
    assert reals.get_params()["word_bits"] == 4
    with pytest.raises(ValueError, match="word_bits=0 must be from 1 to 32, or None"):
        Binary(2, word_bits=0)
