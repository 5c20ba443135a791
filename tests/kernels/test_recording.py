import threading

import pytest
import torch

from difflut import kernels

pytestmark = pytest.mark.needs("c++")


def test_a_replay_computes_from_what_its_inputs_hold_now():
    x, wiring = torch.rand(70, 9), torch.randint(9, (5, 3))
    table, slope = torch.rand(5, 2, 8, requires_grad=True), torch.rand(5, 2, 8)
    features = torch.rand(70, 9, requires_grad=True)

    def run():
        y = kernels.lookup(x + features, wiring, table, slope)
        return y, *torch.autograd.grad((y * x[:, :1]).sum(), (features, table))

    with kernels.Recording() as recording:
        found = run()
    assert recording.is_complete
    x.copy_(torch.rand_like(x) - 0.5)
    with torch.no_grad():
        table.mul_(-1)
    recording.replay()
    torch.testing.assert_close(found, run(), rtol=0, atol=0)


def test_a_replay_adds_up_in_place_and_draws_anew():
    total, drawn = torch.zeros(3), torch.zeros(3)
    with kernels.Recording() as recording:
        total += 2
        drawn.copy_(torch.rand(3))
    before = drawn.clone()
    recording.replay()
    assert total.tolist() == [4, 4, 4] and not torch.equal(drawn, before)


@pytest.mark.parametrize("look", [lambda x: x.sum().item(), lambda x: x[x > 0.5], lambda x: torch.equal(x, x)])
def test_looking_at_values_cannot_be_recorded(look):
    with kernels.Recording() as recording:
        look(torch.rand(9))
    assert not recording.is_complete


def test_a_replayed_step_of_adam_is_a_step_and_is_noticed():
    def run(record):
        torch.manual_seed(1)
        p = torch.nn.Parameter(torch.rand(40))
        optimizer = kernels.Adam([p], lr=0.1, weight_decay=0.1)

        def step():
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()

        step()
        if not record:
            for _ in range(3):
                step()
            return p, optimizer.state[p]["step"]
        with kernels.Recording() as recording:
            step()
        for _ in range(2):
            version = p._version
            recording.replay()
            assert p._version > version
        return p, optimizer.state[p]["step"]

    torch.testing.assert_close(run(True), run(False), rtol=0, atol=0)


def test_a_replayed_step_of_adam_takes_the_rate_that_was_refreshed():
    p = torch.nn.Parameter(torch.rand(40) + 1)
    optimizer = kernels.Adam([p], lr=0.1)
    moved = []
    with kernels.Recording() as recording:
        (3 * p).sum().backward()
        optimizer.step()
    for rate in (0.1, 0.7):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.refresh()
        before = p.detach().clone()
        recording.replay()
        moved.append((before - p.detach()).mean().item())
    assert moved == pytest.approx([0.1, 0.7], rel=0.1)  # a constant gradient moves each weight by the rate


def test_what_another_thread_does_is_not_recorded():
    p = torch.nn.Parameter(torch.rand(40) + 1)
    optimizer = kernels.Adam([p], lr=0.1)

    def step():
        (p * p).sum().backward()
        optimizer.step()

    with kernels.Recording() as recording:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    after = p.detach().clone()
    recording.replay()
    assert torch.equal(p.detach(), after)


def test_memory_of_a_recording_stays_its_own():
    x, wiring, table, out = torch.rand(64, 9), torch.randint(9, (5, 3)), torch.rand(5, 1, 8), torch.empty(64, 5)
    with kernels.Recording() as recording:
        out.copy_(kernels.lookup((x * 2).sin(), wiring, table) + kernels.lookup(x, wiring, table))
    sizes = {out.numel(), x.numel(), x.shape[1] * 2}
    expected, others = out.clone(), [torch.full((size,), 7.0) for size in sizes for _ in range(50)]
    recording.replay()
    assert torch.equal(out, expected) and all((other == 7).all() for other in others)
