import pytest
import torch

from difflut import kernels


def addresses(x, wiring):  # (batch, L)
    n = wiring.shape[1]
    return ((x[:, wiring] >= 0.5) * 2 ** torch.arange(n)).sum(2)


def corner_weights(x, wiring):  # P_a(x) of every node, (batch, L, 2**n)
    n = wiring.shape[1]
    bits = torch.arange(2**n)[:, None] >> torch.arange(n) & 1
    inputs = x[:, wiring][:, :, None, :]
    return torch.where(bits.bool(), inputs, 1 - inputs).prod(3)


def sum_over_corners(x, wiring, table):
    return torch.einsum("bla,loa->blo", corner_weights(x, wiring), table).flatten(1)


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", range(1, 9))
def test_multilinear_is_the_sum_over_corners(make_bank, gradients, n, m):
    bank = make_bank(n, m, batch=17)
    x, table = bank.x.double(), bank.table.double()
    found = gradients(lambda x, table: kernels.multilinear(x, bank.wiring, table), x, table, bank.grad)
    expected = gradients(lambda x, table: sum_over_corners(x, bank.wiring, table), x, table, bank.grad)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_hard_multilinear_looks_up_and_keeps_the_gradients(make_bank, gradients, n):
    bank = make_bank(n, 2, batch=17)
    x, table = bank.x.double(), bank.table.double()
    hard = gradients(lambda x, table: kernels.multilinear(x, bank.wiring, table, hard=True), x, table, bank.grad)
    soft = gradients(lambda x, table: kernels.multilinear(x, bank.wiring, table), x, table, bank.grad)
    assert torch.equal(hard[0], kernels.lookup(x, bank.wiring, table))
    torch.testing.assert_close(hard[1:], soft[1:])


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", range(1, 9))
def test_lookup_reads_the_address_lsb_first_and_differs_across_each_bit(make_bank, gradients, n, m):
    bank = make_bank(n, m, batch=9)
    x, table, slope, grad = (t.double() for t in (bank.x, bank.table, bank.slope, bank.grad))
    address = addresses(x, bank.wiring)
    y = table[torch.arange(len(table)), :, address]
    upstream = grad.view_as(y)
    table_grad = torch.zeros_like(table)
    x_grad = torch.zeros_like(x)
    for b in range(len(x)):
        for node in range(len(bank.wiring)):
            table_grad[node, :, address[b, node]] += upstream[b, node]
            for j in range(n):
                a = int(address[b, node])
                difference = slope[node, :, a | 1 << j] - slope[node, :, a & ~(1 << j)]
                x_grad[b, bank.wiring[node, j]] += (upstream[b, node] * difference).sum()
    found = gradients(lambda x, table: kernels.lookup(x, bank.wiring, table, slope), x, table, grad)
    torch.testing.assert_close(found, (y.flatten(1), x_grad, table_grad))


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", range(1, 9))
def test_fourier_is_the_sum_over_waves(make_bank, n, m):
    bank = make_bank(n, m, batch=17)
    x, cosines, sines = (tensor.double() for tensor in (3 * bank.x - 1, bank.table, bank.slope))
    subsets = (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).double()
    angles = torch.pi * x[:, bank.wiring] @ subsets.T  # (batch, L, 2**n)
    waves = torch.einsum("bls,los->blo", angles.cos(), cosines) + torch.einsum("bls,los->blo", angles.sin(), sines)
    torch.testing.assert_close(kernels.fourier(x, bank.wiring, cosines, sines), waves.flatten(1))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fourier_passes_gradcheck(make_bank, n):
    bank = make_bank(n, 2, batch=3, nodes=4)
    inputs = [tensor.double().requires_grad_() for tensor in (bank.x, bank.table, bank.slope)]
    assert torch.autograd.gradcheck(lambda x, *tables: kernels.fourier(x, bank.wiring, *tables), inputs)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_multilinear_passes_gradcheck(make_bank, n):
    bank = make_bank(n, 2, batch=3, nodes=4)
    x = (0.05 + 0.9 * bank.x.double()).requires_grad_()
    table = bank.table.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, table: kernels.multilinear(x, bank.wiring, table), (x, table))


def test_input_gradient_is_a_difference_of_faces_at_binary_inputs(make_bank, gradients):
    bank = make_bank(3, 1, batch=5, nodes=1, binary=True)
    bank.wiring[0] = torch.tensor([2, 7, 30])
    x, table = bank.x.double(), bank.table.double()
    _, x_grad, _ = gradients(lambda x, table: kernels.multilinear(x, bank.wiring, table), x, table, bank.grad)
    for feature in bank.wiring[0].tolist():
        on, off = x.clone(), x.clone()
        on[:, feature], off[:, feature] = 1, 0
        faces = kernels.lookup(on, bank.wiring, table) - kernels.lookup(off, bank.wiring, table)
        torch.testing.assert_close(x_grad[:, feature], (bank.grad * faces)[:, 0])


def test_lookup_without_slope_gives_inputs_no_gradient(make_bank):
    bank = make_bank(4, 1, batch=5)
    x, table = bank.x.requires_grad_(), bank.table.requires_grad_()
    kernels.lookup(x, bank.wiring, table).sum().backward()
    assert x.grad is None
    assert table.grad.sum() == 5 * len(table)
