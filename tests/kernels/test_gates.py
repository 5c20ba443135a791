import pytest
import torch

from difflut import kernels

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("start", [0, 1])  # in memory, aligned or not
def test_gate_table_is_the_mean_of_the_gates_tables(device, start):
    numbers, upstream = 3 * torch.randn(start + 37 * 2 * 16), torch.randn(37, 2, 4)
    logits, placed = (tensor[start:].view(37, 2, 16) for tensor in (numbers, numbers.to(device)))
    gates = torch.tensor([[gate >> address & 1 for address in range(4)] for gate in range(16)]).double()

    def evaluate(operation, logits):
        logits = logits.requires_grad_()
        table = operation(logits)
        return table.detach(), torch.autograd.grad(table, logits, upstream.to(table))[0]

    expected = evaluate(lambda logits: logits.softmax(-1) @ gates, logits.double())
    found = evaluate(kernels.gate_table, placed)
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_tables_of_several_banks_are_those_of_each(device):
    banks = [torch.randn(rows, 1, 16).to(device).requires_grad_() for rows in (300, 5, 1, 513)]
    upstream = [torch.randn(len(bank), 1, 4).to(device) for bank in banks]
    together, apart = kernels.gate_tables(banks), list(map(kernels.gate_table, banks))
    assert all(map(torch.equal, together, apart))
    assert all(map(torch.equal, *(torch.autograd.grad(tables, banks, upstream) for tables in (together, apart))))


def test_gates_are_sixteen():
    with pytest.raises(ValueError, match="16 functions, got 4 logits"):
        kernels.gate_table(torch.zeros(3, 4))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch", [1, 131])
def test_group_sum_and_its_gradient(device, batch):
    x = torch.randn(batch, 60).to(device).requires_grad_()
    y = kernels.group_sum(x, 5)
    torch.testing.assert_close(y, x.unflatten(1, (5, 12)).sum(2))
    upstream = torch.randn(batch, 5).to(device)
    assert torch.equal(torch.autograd.grad(y, x, upstream)[0], upstream.repeat_interleave(12, 1))
