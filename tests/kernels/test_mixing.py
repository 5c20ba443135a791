import pytest
import torch

from difflut import kernels
from difflut.kernels import PlacedWiring, Placements
from tests.kernels.operations import LAYOUTS

CASES = [Placements(40), Placements(3, 6, 5, (3, 3), padding=(1, 1)), Placements(2, 7, 8, (3, 2), (2, 3), (2, 0))]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("few", [True, False], ids=["candidates", "all"])
@pytest.mark.parametrize("placements", CASES, ids=["dense", "padded", "strided"])
@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_a_mixture_is_the_weighted_sum_of_what_pins_read(device, batch, placements, few, layout):
    generator, pins, window = torch.Generator().manual_seed(1), 12, placements.window
    x = torch.rand(batch, placements.features, generator=generator, dtype=torch.float64)
    candidates = torch.randint(window, (pins, 5), generator=generator) if few else None
    positions = torch.arange(window).expand(pins, window) if candidates is None else candidates
    weights = torch.rand(positions.shape, generator=generator, dtype=torch.float64).requires_grad_()
    x = LAYOUTS[layout](x).requires_grad_()
    grad = torch.randn(batch, pins * placements.count, generator=generator, dtype=torch.float64)
    read = kernels.gather(x, PlacedWiring(positions, placements)).view(*positions.shape, -1, batch)
    expected = torch.einsum("ik,ikpb->bip", weights, read).flatten(1)
    there = None if candidates is None else candidates.to(device)
    found = kernels.mix(x.to(device), weights.to(device), there, placements)
    torch.testing.assert_close(found.cpu(), expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (x, weights), grad.to(device)), torch.autograd.grad(expected, (x, weights), grad)
    )
