"""The operations on banks that every compiled back end must compute as the reference does."""

import torch

from difflut import kernels
from difflut.kernels import PlacedWiring

LAYOUTS = {
    "rows": torch.Tensor.contiguous,
    "features first": lambda x: x.t().contiguous().t(),
    "strided": lambda x: torch.stack((x, x.neg()), 2).flatten(1)[:, ::2],
}


def waves(table):
    """Coefficients of cosines and of sines, both from the table and so small that their sums are about 1."""
    return table / 16, table.flip(2) / 8 - 1 / 16


OPERATIONS = {
    "lookup": lambda wiring, slope: lambda x, table: kernels.lookup(x, wiring, table, slope.to(table.dtype)),
    "multilinear": lambda wiring, slope: lambda x, table: kernels.multilinear(x, wiring, table),
    "hybrid": lambda wiring, slope: lambda x, table: kernels.multilinear(x, wiring, table, hard=True),
    "fourier": lambda wiring, slope: lambda x, table: kernels.fourier(x, wiring, *waves(table)),
}
SMOOTH = {"multilinear", "fourier"}


def evaluated(bank, gradients, operation, device="cpu", layout="rows", dtype=torch.float32):
    """The value of an operation and its gradients for x and the table."""
    x, table, grad = (tensor.to(device, dtype) for tensor in (bank.x, bank.table, bank.grad))
    build = OPERATIONS[operation](_on(bank.wiring, device), bank.slope.to(device))
    return gradients(build, LAYOUTS[layout](x), table, LAYOUTS[layout](grad))


def _on(wiring, device):
    placed = isinstance(wiring, PlacedWiring)
    return PlacedWiring(wiring.wiring.to(device), wiring.placements) if placed else wiring.to(device)


def assert_as_in_double(bank, gradients, operation, backend, layout="rows"):
    device = "cuda" if backend == "cuda" else "cpu"
    assert kernels.backend_for(bank.table.to(device)).name == backend
    found = evaluated(bank, gradients, operation, device, layout)
    expected = evaluated(bank, gradients, operation, dtype=torch.float64)
    for single, double in zip(found, expected, strict=True):
        # Sums of up to a few hundred terms around 1 in single precision.
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=3e-5)
    if operation not in SMOOTH:
        assert torch.equal(found[0].cpu().double(), expected[0])


def assert_empty_ones_work(bank, gradients, operation, device, batch, nodes):
    bank.x, bank.grad = bank.x[:1].expand(batch, -1), torch.ones(batch, bank.table.shape[1] * nodes)
    bank.wiring, bank.table, bank.slope = bank.wiring[:nodes], bank.table[:nodes], bank.slope[:nodes]
    y, x_grad, table_grad = evaluated(bank, gradients, operation, device)
    assert y.shape == bank.grad.shape and x_grad.shape == bank.x.shape and table_grad.shape == bank.table.shape
    assert not x_grad.any() and not table_grad.any()


def selection(form, binary, batch, features=150, pins=50, choices=19):
    """x, logits, candidates and an upstream gradient."""
    generator = torch.Generator().manual_seed(batch)
    x = torch.rand(batch, features, generator=generator)
    x = x.round() if binary else x
    candidates = torch.randint(features, (pins, choices), generator=generator) if form == "candidates" else None
    logits = torch.rand((features, pins) if candidates is None else candidates.shape, generator=generator)
    logits[3] = logits[11] = 1.5 if candidates is None else 0.5  # of equal logits the first is taken
    return x, logits, candidates, torch.randn(batch, pins, generator=generator)


def selected(case, tau, dtype=torch.float32, arrange=lambda x: x, needs_x=True, device="cpu"):
    """What pins read, and the gradients of x, where needed, and of the logits."""
    x, logits, candidates, grad = (tensor if tensor is None else tensor.to(device) for tensor in case)
    x, logits = arrange(x.to(dtype)).requires_grad_(needs_x), arrange(logits.to(dtype)).requires_grad_()
    y = kernels.select(x, logits, candidates, tau=tau)
    return y.detach(), *torch.autograd.grad(y, (x, logits) if needs_x else (logits,), arrange(grad.to(dtype)))


def assert_empty_selections_work(form, batch, pins, device):
    x, logits, candidates, grad = selection(form, True, 5)
    logits = logits[:, :pins] if candidates is None else logits[:pins]
    candidates = None if candidates is None else candidates[:pins]
    y, x_grad, logits_grad = selected((x[:batch], logits, candidates, grad[:batch, :pins]), 0.1, device=device)
    assert y.shape == (batch, pins) and not x_grad.any() and not logits_grad.any()
