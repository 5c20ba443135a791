from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from difflut import kernels
from difflut.kernels import PackedRows

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch,classes", [(1, 2), (33, 10), (20_000, 7)])
def test_cross_entropy_gradient_is_that_of_torch(batch, classes, device):
    logits = (4 * torch.randn(batch, classes)).to(device).requires_grad_()
    labels = torch.randint(classes, (batch,), device=device)
    totals = torch.tensor([1.0, 2.0], dtype=torch.float64, device=device)
    found = kernels.cross_entropy_gradient(logits, labels, totals)
    loss = F.cross_entropy(logits, labels)
    torch.testing.assert_close(found, torch.autograd.grad(loss, logits)[0])
    expected = loss.item() * batch + 1, (logits.argmax(1) == labels).sum().item() + 2
    assert totals.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [1, 4, 6, 8])
def test_binarize_clamps_and_passes_the_gradient_through(n, device):
    values = (1.5 * torch.randn(11, 2, 2**n)).to(device)
    values.view(-1)[0] = 0
    corners = torch.arange(2**n)
    smoothing = torch.randn(2**n)[corners[:, None] ^ corners].to(device)
    clamped = values.clamp(-1, 1)
    values.requires_grad_()
    hard, slope = kernels.binarize(values, smoothing)
    assert torch.equal(values.detach(), clamped)
    assert torch.equal(hard, (clamped >= 0).float())
    torch.testing.assert_close(slope, clamped @ smoothing, rtol=1e-4, atol=1e-4)
    assert kernels.binarize(values)[1] is None
    upstream = torch.randn_like(hard)
    assert torch.equal(torch.autograd.grad(hard, values, upstream)[0], upstream)


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.needs("c++")), pytest.param("cuda", marks=pytest.mark.cuda)]
)
@pytest.mark.parametrize("features", [5, 64, 99])
def test_packed_rows_give_the_samples_in_order(features, device):
    def samples():
        return (torch.rand(300, features) > 0.5).float().to(device), torch.randint(9, (300,)).to(device)

    x, labels = samples()
    rows = PackedRows([x[:170], x[170:]], labels)
    for _ in range(2):
        order = torch.randperm(300).to(device)
        rows.begin(order)
        start = 0
        for batch in (1, 130, 32, 137):
            bits, chosen = rows.next_batch(batch)
            now = order[start : start + batch]
            assert torch.equal(bits.float(), x[now]) and torch.equal(chosen, labels[now])
            start += batch
        x, labels = samples()
        rows.replace([x], labels)


def optimized(make, device, captured=False):
    generator = torch.Generator().manual_seed(0)
    shapes = [(1000, 1, 64), (3, 5), (8192,)]
    parameters = [torch.nn.Parameter(torch.randn(s, generator=generator).to(device)) for s in shapes]
    optimizer = make(parameters)
    scale = torch.ones((), device=device)

    def step():
        optimizer.zero_grad()
        sum((p.sin() * scale).sum() for p in parameters).backward()
        optimizer.step()

    for number in range(9):
        if number == 6:
            optimizer.load_state_dict(optimizer.state_dict())
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + number)
        step()
    return parameters, optimizer


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind,decay", [(torch.optim.Adam, {}), (torch.optim.AdamW, {"weight_decay": 3.0})])
def test_adam_is_that_of_torch(device, kind, decay):
    found, optimizer = optimized(lambda p: kernels.Adam(p, betas=(0.8, 0.99), **decay), device)
    expected, reference = optimized(lambda p: kind(p, betas=(0.8, 0.99), **decay), device)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    states = optimizer.state_dict()["state"], reference.state_dict()["state"]
    for ours, theirs in zip(*(state.values() for state in states), strict=True):
        assert ours["step"] == theirs["step"] == 9
        torch.testing.assert_close(ours["exp_avg_sq"], theirs["exp_avg_sq"])


@pytest.mark.parametrize("device", DEVICES)
def test_adam_falls_back_where_a_gradient_is_missing(device):
    def trained(kind):
        parameters = [torch.nn.Parameter(torch.full((4,), start, device=device)) for start in (1.0, 2.0)]
        optimizer = kind(parameters, lr=0.1, weight_decay=0.5)
        for _ in range(2):
            optimizer.zero_grad()
            (parameters[0] * parameters[1]).sum().backward()
            optimizer.step()
        parameters[1].grad = None
        optimizer.step()
        assert [optimizer.state[p]["step"].item() for p in parameters] == [3, 2]
        return parameters

    torch.testing.assert_close(trained(kernels.Adam), trained(torch.optim.AdamW))


@pytest.mark.parametrize("device", DEVICES)
def test_adam_leaves_parameters_that_need_no_gradient_and_stays_one_kernel(device, monkeypatch):
    def trained(kind):
        parameters = [torch.nn.Parameter(torch.rand(4, device=device).fill_(start)) for start in (1.0, 2.0, 3.0)]
        optimizer = kind(parameters, lr=0.1, weight_decay=0.5)
        for number in range(4):
            parameters[0].requires_grad_(number < 2)
            optimizer.zero_grad()
            sum((p * p).sum() for p in parameters if p.requires_grad).backward()
            if number == 2:
                still = parameters[0].detach().clone()
            optimizer.step()
        assert torch.equal(parameters[0], still)
        return [p.detach() for p in parameters]

    expected = trained(torch.optim.AdamW)

    def fell_back(*_):
        raise AssertionError("the step is torch's")

    monkeypatch.setattr(torch.optim.Adam, "step", fell_back)
    torch.testing.assert_close(trained(kernels.Adam), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_goes_on_with_the_state_and_the_decay_of_torch(device, kind):
    start = torch.nn.Parameter(torch.rand(9, device=device) + 1)
    first = kind([start], lr=0.1, weight_decay=0.5)
    start.grad = torch.rand(9, device=device) + 1
    first.step()

    def second_step(kind):
        parameter = torch.nn.Parameter(start.detach().clone())
        optimizer = kind([parameter])
        optimizer.load_state_dict(deepcopy(first.state_dict()))
        parameter.grad = start.grad.flip(0)
        optimizer.step()
        return parameter

    torch.testing.assert_close(second_step(kernels.Adam), second_step(kind))


@pytest.mark.cuda
def test_a_captured_adam_step_follows_the_rate():
    parameter = torch.nn.Parameter(torch.zeros(1000, device="cuda"))
    optimizer = kernels.Adam([parameter], lr=0.5)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for rate in (0.5, 0.25):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.refresh()
        graph.replay()
    # With a constant gradient each step is the rate.
    torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, -1.25), rtol=1e-4, atol=0)
