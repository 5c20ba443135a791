import pytest
import torch

from difflut import kernels
from difflut.kernels import PlacedWiring, Placements

IMAGES = [
    Placements(3, 8, 6, (3, 3), padding=(1, 1)),
    Placements(2, 9, 7, (2, 2), padding=(1, 0), stride=(2, 1)),
    Placements(1, 14, 20, (5, 3), padding=(2, 1), stride=(1, 2)),  # lines for several warps
]


def make(placements, levels, batch, pool, roots=5):
    generator = torch.Generator().manual_seed(batch)
    widths = [roots << level for level in reversed(range(levels + 1))]
    wiring = torch.randint(placements.window, (widths[0], 2), generator=generator)
    # Few bits each, so that the values of two levels are exact, and equal or not in every precision.
    tables = [torch.randint(3, (width, 1, 4), generator=generator) / 2 for width in widths]
    x = torch.randint(1, 5, (batch, placements.features), generator=generator) / 4
    outputs = roots * (placements.count // (pool[0] * pool[1]))
    return x, wiring, tables, torch.randn(batch, outputs, generator=generator)


def evaluated(operation, x, tables, grad):
    x, tables = x.detach().requires_grad_(), [table.detach().requires_grad_() for table in tables]
    y = operation(x, tables)
    return y.detach(), *torch.autograd.grad(y, [x, *tables], grad)


def written_down(x, wiring, tables, placements, pool):
    """Level after level on all inputs, in plain torch."""
    inputs = kernels.gather(x, PlacedWiring(wiring, placements))
    for table in tables:
        a, b = inputs[:, 0], inputs[:, 1]
        low, high = (torch.lerp(table[:, 0, e, None], table[:, 0, e + 1, None], a) for e in (0, 2))
        inputs = torch.lerp(low, high, b)
        if table is not tables[-1]:
            inputs = inputs.unflatten(0, (-1, 2))
    y = inputs.view(len(inputs), placements.out_height, placements.out_width, len(x))
    y = y.unflatten(2, (-1, pool[1])).unflatten(1, (-1, pool[0])).amax((2, 4))
    return y.flatten(0, 2).t()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("batch", [3, 132])
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(
    "placements,pool",
    [(IMAGES[0], (2, 2)), (IMAGES[0], (1, 1)), (IMAGES[1], (5, 1)), (IMAGES[2], (2, 2))],
    ids=str,
)
def test_is_level_after_level_and_the_maximum(placements, pool, levels, batch, device):
    x, wiring, tables, grad = make(placements, levels, batch, pool)
    double = [table.double() for table in tables]
    expected = evaluated(lambda x, t: written_down(x, wiring, t, placements, pool), x.double(), double, grad.double())
    on = PlacedWiring(wiring.to(device), placements)
    given = x.to(device), [table.to(device) for table in tables], grad.to(device)
    found, again = (evaluated(lambda x, t: kernels.multilinear_tree(x, on, t, pool), *given) for _ in range(2))
    assert all(map(torch.equal, found, again))
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=1e-4)  # sums of 20,000 terms


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("pool", [(1, 1), (2, 2)])
def test_bits_give_what_values_do(pool, levels, device):
    x, wiring, tables, grad = make(IMAGES[0], levels, 132, pool)
    wiring, grad, x = PlacedWiring(wiring.to(device), IMAGES[0]), grad.to(device), (x > 0.5).float().to(device)
    generator = torch.Generator().manual_seed(0)
    tables = [torch.rand(table.shape, generator=generator).to(device).requires_grad_() for table in tables]
    results = []
    for read in (x, kernels.mark_bits(x.clone())):
        y = kernels.multilinear_tree(read, wiring, tables, pool)
        results.append((y, *torch.autograd.grad(y, tables, grad)))
    (y, *grads), (of_bits, *grads_of_bits) = results
    assert torch.equal(y, of_bits)
    for one, other in zip(grads, grads_of_bits, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def test_equal_windows_share_the_gradient():
    placements = Placements(1, 2, 2)
    x, tables = torch.full((1, 4), 0.25), [torch.tensor([[[0.0, 1, 0, 1]]])]
    wiring = PlacedWiring(torch.zeros(1, 2, dtype=torch.int64), placements)
    found = evaluated(lambda x, t: kernels.multilinear_tree(x, wiring, t, (2, 2)), x, tables, torch.ones(1, 1))
    assert torch.equal(found[1], torch.full((1, 4), 0.25))
