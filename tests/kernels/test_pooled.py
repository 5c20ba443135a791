"""Windows that lie side by side: their gradients are written without a sum where every pixel is read once."""

import pytest
import torch

from difflut import kernels
from difflut.kernels import PlacedWiring, Placements

WHOLE = [Placements(6, 8, 6, (2, 2), (2, 2)), Placements(4, 3, 10, (1, 2), (1, 2)), Placements(2, 4, 6, (4, 2), (4, 2))]
APART = [Placements(6, 9, 7, (2, 2), (2, 2)), Placements(6, 6, 6, (2, 2), (2, 2), (1, 1))]  # some pixels are not read


def make(placements, batch, m, twice=False):
    generator = torch.Generator().manual_seed(batch)
    n = placements.kernel[0] * placements.kernel[1]
    wiring = torch.randperm(placements.window, generator=generator).view(-1, n)
    if twice:
        wiring[1, 0] = wiring[0, 0]
    rows = len(wiring) * m * placements.count
    x = torch.randint(4, (batch, placements.features), generator=generator) / 4
    table, slope = (torch.randn(len(wiring), m, 2**n, generator=generator) for _ in range(2))
    return x, wiring, table, slope, torch.randn(batch, rows, generator=generator)


def largest(x, wiring, table, slope):
    return kernels.maximum(x, wiring).repeat_interleave(table.shape[1], 1)  # with as many outputs as tables have


OPERATIONS = {"lookup": kernels.lookup, "maximum": largest}


def x_gradient(operation, case, placements, device, dtype):
    x, wiring, *others, grad = (tensor.to(device) for tensor in case)
    table, slope = (tensor.to(dtype) for tensor in others)
    x = x.to(dtype).requires_grad_()
    y = OPERATIONS[operation](x, PlacedWiring(wiring, placements), table, slope)
    return torch.autograd.grad(y, x, grad.to(dtype))[0]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("m,batch,twice", [(1, 3, False), (1, 132, False), (2, 260, False), (1, 33, True)])
@pytest.mark.parametrize("placements", [*WHOLE, *APART], ids=str)
def test_gradients_are_those_of_double_precision(placements, m, batch, twice, operation, device):
    case = make(placements, batch, m, twice)
    found = x_gradient(operation, case, placements, device, torch.float32)
    with kernels.use_backend("reference"):
        expected = x_gradient(operation, case, placements, "cpu", torch.float64)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-5)
