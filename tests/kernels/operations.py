"""The operations on banks that every compiled back end must compute as the reference does."""

import pytest
import torch

from difflut import kernels
from difflut.kernels import PlacedWiring

BACKENDS = ["cpp", pytest.param("cuda", marks=pytest.mark.cuda)]

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


def looked_up(x, banks, groups=None, tau=1.0):
    """What banks give that read nothing but the one before."""
    return kernels.lookup_graph([x], banks, [[i] for i in range(len(banks))], [len(banks)], groups, tau)[0]


def _on(wiring, device):
    placed = isinstance(wiring, PlacedWiring)
    return PlacedWiring(wiring.wiring.to(device), wiring.placements) if placed else wiring.to(device)


def device_of(backend):
    device = "cuda" if backend == "cuda" else "cpu"
    if kernels.backend_for(torch.empty(0, device=device)).name != backend:
        pytest.skip(f"the {backend} kernels cannot be compiled here")
    return device


def assert_as_in_double(bank, gradients, operation, backend, layout="rows"):
    device = device_of(backend)
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


def selection(form, binary, batch, features=150, pins=50, choices=19, placements=None):
    """x, logits, candidates and an upstream gradient."""
    generator = torch.Generator().manual_seed(batch)
    placements = placements or kernels.Placements(features)
    x = torch.rand(batch, placements.features, generator=generator)
    x = x.round() if binary else x
    window = placements.window
    candidates = torch.randint(window, (pins, choices), generator=generator) if form == "candidates" else None
    logits = torch.rand((window, pins) if candidates is None else candidates.shape, generator=generator)
    logits[3] = logits[-1] = 1.5 if candidates is None else 0.5  # of equal logits the first is taken
    return x, logits, candidates, torch.randn(batch, pins * placements.count, generator=generator)


def selected(case, tau, dtype=torch.float32, arrange=lambda x: x, needs_x=True, device="cpu", placements=None):
    """What pins read, and the gradients of x, where needed, and of the logits."""
    x, logits, candidates, grad = (tensor if tensor is None else tensor.to(device) for tensor in case)
    x, logits = arrange(x.to(dtype)).requires_grad_(needs_x), arrange(logits.to(dtype)).requires_grad_()
    y = kernels.select(x, logits, candidates, placements, tau=tau)
    return y.detach(), *torch.autograd.grad(y, (x, logits) if needs_x else (logits,), arrange(grad.to(dtype)))


def learned(case, tau, table, slope, grad, dtype=torch.float32, arrange=lambda x: x, device="cpu", placements=None):
    """What nodes with learned inputs look up, and the gradients of x, the logits and the table."""
    x, logits, candidates, *_ = case
    x, logits, table, slope, grad = (tensor.to(device, dtype, copy=True) for tensor in (x, logits, table, slope, grad))
    x, logits, table = (tensor.requires_grad_() for tensor in (arrange(x), arrange(logits), table))
    candidates = candidates if candidates is None else candidates.to(device)
    y = kernels.learned_lookup(x, logits, table, slope, candidates, placements, tau=tau)
    return y.detach(), *torch.autograd.grad(y, (x, logits, table), arrange(grad))


def assert_empty_selections_work(form, batch, pins, device):
    x, logits, candidates, grad = selection(form, True, 5)
    logits = logits[:, :pins] if candidates is None else logits[:pins]
    candidates = None if candidates is None else candidates[:pins]
    y, x_grad, logits_grad = selected((x[:batch], logits, candidates, grad[:batch, :pins]), 0.1, device=device)
    assert y.shape == (batch, pins) and not x_grad.any() and not logits_grad.any()
