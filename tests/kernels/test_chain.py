import pytest
import torch

from difflut import kernels

FEATURES = 24


def make(batch, widths=(48, 24, 12, 24, 12), n=2, features=FEATURES):
    """Dense banks of two inputs, which read every output of the one before equally often."""
    generator = torch.Generator().manual_seed(batch)
    wirings, reads = [], features
    for width in widths:
        pins = torch.cat([torch.randperm(reads, generator=generator) for _ in range(-(-width * n // reads))])
        wirings.append(pins[: width * n].view(width, n))
        reads = width
    tables = [torch.rand(width, 1, 2**n, generator=generator) for width in widths]
    return torch.rand(batch, features, generator=generator), wirings, tables


def evaluated(operation, x, wirings, tables, device, needs_x=True):
    x, grad = x.to(device), torch.randn(len(x), len(tables[-1]), generator=torch.Generator().manual_seed(0)).to(device)
    given = [table.to(device).requires_grad_() for table in tables]
    wanted = [x.requires_grad_(), *given] if needs_x else given
    y = operation(x, [wiring.to(device) for wiring in wirings], given)
    return y.detach(), *torch.autograd.grad(y, wanted, grad)


def one_by_one(x, wirings, tables):
    for wiring, table in zip(wirings, tables, strict=True):
        x = kernels.multilinear(x, wiring, table)
    return x


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("batch", [3, 132, 1300])
@pytest.mark.parametrize("widths", [(48, 24, 12), (48, 24), (48, 24, 12, 6), (48, 24, 12, 24, 12), (12,), (36, 24)])
def test_is_bank_after_bank(widths, batch, device):
    x, wirings, tables = make(batch, widths)
    with kernels.use_backend("reference"):
        expected = evaluated(one_by_one, x.double(), wirings, [table.double() for table in tables], "cpu")
    found, again = (evaluated(kernels.multilinear_chain, x, wirings, tables, device) for _ in range(2))
    assert all(map(torch.equal, found, again))
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=1e-4)  # sums of 1,300 terms


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_of_inputs_that_need_no_gradient(device):
    x, wirings, tables = make(9, (48, 24, 12))
    found = evaluated(kernels.multilinear_chain, x, wirings, tables, device, needs_x=False)
    torch.testing.assert_close(found[1:], evaluated(kernels.multilinear_chain, x, wirings, tables, device)[2:])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_a_wiring_that_changes_is_looked_at_again(device):
    x, wirings, tables = make(9, (48, 24, 12))
    wirings = [wiring.to(device) for wiring in wirings]
    for change in (
        lambda: wirings[1].copy_(wirings[1].flip(0)),
        lambda: wirings[2].zero_(),
        lambda: wirings[0].zero_(),
    ):
        evaluated(kernels.multilinear_chain, x, wirings, tables, device)
        change()
        found = evaluated(kernels.multilinear_chain, x, wirings, tables, device)
        torch.testing.assert_close(found, evaluated(one_by_one, x, wirings, tables, device))


@pytest.mark.parametrize(
    "number,problem", [(0, "x has 24 features"), (1, "x has 48 features"), (2, "x has 24 features")]
)
def test_a_wiring_reads_the_bank_before(number, problem):
    x, wirings, tables = make(9, (48, 24, 12))
    wirings[number][3, 1] = 48
    with pytest.raises(ValueError, match=problem):
        kernels.multilinear_chain(x, wirings, tables)
