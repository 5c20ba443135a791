import math

import pytest
import torch

from difflut.training.losses import cross_entropy, distillation


def logits(batch=5, classes=4):
    return torch.randn(batch, classes, dtype=torch.float64, requires_grad=True)


def test_smoothed_cross_entropy_has_its_closed_form():
    x, y = logits(), torch.tensor([0, 3, 1, 1, 2])
    expected = 0.0
    for row, label in zip(x, y, strict=True):
        target = torch.full((4,), 0.2 / 4, dtype=torch.float64)
        target[label] += 0.8
        expected -= (target * row.log_softmax(0)).sum() / 5
    torch.testing.assert_close(cross_entropy(x, y, label_smoothing=0.2), expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation_mixes_labels_and_teacher(temperature):
    x, taught, y = logits(), logits().detach(), torch.tensor([0, 3, 1, 1, 2])
    p, q = (taught / temperature).softmax(1), (x / temperature).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    expected = 0.3 * cross_entropy(x, y) + 0.7 * temperature**2 * divergence
    torch.testing.assert_close(distillation(x, y, taught, weight=0.7, temperature=temperature), expected)


def test_a_pupil_that_agrees_learns_nothing_from_its_teacher():
    x = logits()
    loss = distillation(x, torch.zeros(5, dtype=torch.long), x.detach(), weight=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and x.grad.abs().max() < 1e-12


def test_an_even_guess_costs_the_logarithm_of_the_classes():
    assert cross_entropy(torch.zeros(3, 10), torch.tensor([1, 2, 3]), 0.1).item() == pytest.approx(math.log(10))


@pytest.mark.parametrize("options", [{"weight": 1.5}, {"weight": -0.1}, {"temperature": 0.0}])
def test_a_distillation_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="needs a weight from 0 to 1 and a temperature above 0"):
        distillation(logits(), torch.zeros(5, dtype=torch.long), logits(), **options)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_smoothing_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"label_smoothing={share} must lie between 0 and 1"):
        cross_entropy(torch.randn(3, 2), torch.tensor([0, 1, 1]), label_smoothing=share)
