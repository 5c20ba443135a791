from types import SimpleNamespace

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, threads wait for each other much longer than these tests compute
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_bank():
    def make(n, m, batch, nodes=13, features=37, binary=False):
        generator = torch.Generator().manual_seed(1000 * n + 100 * m + batch)
        x = torch.rand(batch, features, generator=generator)
        exact = torch.randint(0, 5, x.shape, generator=generator) / 4  # 0, 1/4, 1/2, 3/4 and 1 themselves
        x = (x > 0.4).float() if binary else torch.where(torch.rand(x.shape, generator=generator) < 0.4, exact, x)
        wiring = torch.randint(0, features, (nodes, n), generator=generator)
        wiring[0] = 5  # a node that reads one input n times
        return SimpleNamespace(
            x=x,
            wiring=wiring,
            table=torch.rand(nodes, m, 2**n, generator=generator),
            slope=torch.randn(nodes, m, 2**n, generator=generator),
            grad=torch.randn(batch, nodes * m, generator=generator),
        )

    return make


@pytest.fixture
def make_placed_bank(make_bank):
    def make(placements, n, m=2, batch=5, binary=False):
        bank = make_bank(n, m, batch, nodes=7, features=placements.features, binary=binary)
        generator = torch.Generator().manual_seed(placements.features)
        bank.wiring = torch.randint(placements.window, (7, n), generator=generator)
        bank.grad = torch.randn(batch, 7 * m * placements.count, generator=generator)
        return bank

    return make


@pytest.fixture
def gradients():
    def evaluate(operation, x, table, grad):
        """The value of operation(x, table), and its gradients for x and table."""
        x, table = x.detach().requires_grad_(), table.detach().requires_grad_()
        y = operation(x, table)
        return y.detach(), *torch.autograd.grad(y, (x, table), grad.to(y.dtype))

    return evaluate
