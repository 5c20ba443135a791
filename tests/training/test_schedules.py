import math
from functools import partial

import pytest
import torch

from difflut.training.schedules import adam, adamw, cosine, milestones, sgd, step

PARAMETERS = [torch.nn.Parameter(torch.zeros(2))]


@pytest.mark.parametrize("optimizer", [adam, adamw, sgd])
@pytest.mark.parametrize(
    ("lr", "rule"), [(0, "above 0"), (-0.1, "above 0"), (float("inf"), "a finite number"), ("0.1", "a finite number")]
)
def test_a_rate_that_cannot_be_is_refused(optimizer, lr, rule):
    with pytest.raises(ValueError, match=f"lr={lr!r} must be {rule}"):
        optimizer(PARAMETERS, lr=lr)


@pytest.mark.parametrize("optimizer", [adam, adamw])
@pytest.mark.parametrize(
    ("betas", "rule"),
    [
        ((0.9,), r"be \(a finite number, a finite number\)"),
        (0.9, r"be \(a finite number, a finite number\)"),
        ((0.9, 1), "each be at least 0 and below 1"),
        ((-0.1, 0.9), "each be at least 0 and below 1"),
    ],
)
def test_decays_that_cannot_be_are_refused(optimizer, betas, rule):
    with pytest.raises(ValueError, match=rf"betas=.* must {rule}"):
        optimizer(PARAMETERS, betas=betas)


def test_the_weight_decay_of_adamw_leaves_the_gradient_alone():
    weights = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    weights.grad = torch.tensor([5.0, 0.5])
    adamw([weights], lr=0.1, weight_decay=0.5).step()
    # The first step of Adam is the rate, whatever the size of the gradient.
    torch.testing.assert_close(weights.detach(), torch.tensor([3 * 0.95 - 0.1, -2 * 0.95 - 0.1]))


@pytest.mark.parametrize("at", [3, (3, 4.5)])
def test_milestones_that_are_no_epochs_are_refused(at):
    with pytest.raises(ValueError, match=r"at=.* must be a list, each item a whole number"):
        milestones(sgd(PARAMETERS), epochs=5, at=at)


@pytest.mark.parametrize(("every", "rule"), [(0, "at least 1 epoch"), (1.5, "a whole number")])
def test_steps_that_are_no_epochs_are_refused(every, rule):
    with pytest.raises(ValueError, match=f"every={every} must be {rule}"):
        step(sgd(PARAMETERS), epochs=5, every=every)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_momentum_that_cannot_be_is_refused(momentum):
    with pytest.raises(ValueError, match=f"momentum={momentum} must be at least 0 and below 1"):
        sgd(PARAMETERS, momentum=momentum)


@pytest.mark.parametrize("schedule", [step, milestones])
@pytest.mark.parametrize(("gamma", "rule"), [(0, "above 0"), (-1.0, "above 0"), (float("nan"), "a finite number")])
def test_a_factor_that_cannot_be_is_refused(schedule, gamma, rule):
    with pytest.raises(ValueError, match=f"gamma={gamma} must be {rule}"):
        schedule(sgd(PARAMETERS), epochs=5, gamma=gamma)


def test_a_last_rate_below_0_is_refused():
    with pytest.raises(ValueError, match=r"final_lr=-1\.0 must be at least 0"):
        cosine(sgd(PARAMETERS), epochs=5, final_lr=-1.0)


def rates(schedule, epochs):
    optimizer = sgd(PARAMETERS, lr=0.2)
    stepped, found = schedule(optimizer, epochs=epochs), []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepped.step()
    return found


def test_each_schedule_has_the_rates_that_it_promises():
    falling = [0.02 + 0.09 * (1 + math.cos(math.pi * epoch / 6)) for epoch in range(6)]
    assert rates(partial(cosine, final_lr=0.02), 6) == pytest.approx(falling)
    assert rates(partial(cosine, final_lr=0.02, hold=0.4), 10) == pytest.approx([0.2] * 4 + falling)
    assert rates(partial(step, every=2, gamma=0.5), 5) == pytest.approx([0.2, 0.2, 0.1, 0.1, 0.05])
    assert rates(partial(milestones, at=(1, 4), gamma=0.1), 6) == pytest.approx([0.2, *[0.02] * 3, *[0.002] * 2])
