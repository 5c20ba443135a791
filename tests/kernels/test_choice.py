"""Banks behind a learnable wiring, which read through it: as those that read what was selected."""

import pytest
import torch

from difflut import kernels
from difflut.kernels import Choice, PlacedWiring, Placements, own_inputs
from tests.kernels.operations import BACKENDS, LAYOUTS, OPERATIONS, device_of, selection
from tests.kernels.test_placements import CASES, IDS

NODES, CHOICES = 9, 70


def own_wiring(n, placements, device="cpu"):
    """The wiring of nodes that read their own pins, where these stand."""
    pins = own_inputs(NODES, n, torch.device(device, 0) if device == "cuda" else torch.device(device))
    where = Placements(pins.numel(), placements.out_height, placements.out_width)
    return pins if placements.is_dense else PlacedWiring(pins, where)


def draw(form, binary, batch, n, m, placements):
    """x, logits, candidates; table, slope and the upstream gradient of a bank."""
    generator = torch.Generator().manual_seed(n)
    *case, _ = selection(form, binary, batch, pins=NODES * n, choices=CHOICES, placements=placements)
    tables = (torch.rand(NODES, m, 2**n, generator=generator) for _ in range(2))
    return *case, *tables, torch.randn(batch, NODES * m * placements.count, generator=generator)


def run(operation, case, placements, device="cpu", dtype=torch.float32, mark=False, layout="rows"):
    """What the bank gives; x, the logits and the table; the upstream gradient."""
    x, logits, candidates, table, slope, grad = (
        tensor if tensor is None else tensor.to(device, dtype if tensor.is_floating_point() else None)
        for tensor in case
    )
    x, logits, table = (LAYOUTS[layout](x).clone(), logits.clone(), table.clone())
    inputs = [tensor.requires_grad_() for tensor in (x, logits, table)]
    choice = Choice(kernels.mark_bits(x) if mark else x, logits, candidates, placements, 0.2)
    n = table.shape[2].bit_length() - 1
    return OPERATIONS[operation](own_wiring(n, placements, device), slope)(choice, table), inputs, grad


def evaluated(*arguments, **options):
    """What the bank gives, and the gradients of x, the logits and the table."""
    y, inputs, grad = run(*arguments, **options)
    return y.detach(), *torch.autograd.grad(y, inputs, grad)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n,m,batch", [(1, 2, 3), (3, 1, 128), (6, 2, 132), (8, 1, 33)])
@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("kind", ["real", "binary", "known as bits"])
@pytest.mark.parametrize("placements", [*CASES[1:3], Placements(90)], ids=[*IDS[1:3], "dense"])
def test_banks_read_what_was_selected(placements, kind, form, n, m, batch, operation, backend):
    device = device_of(backend)
    case = draw(form, kind != "real", batch, n, m, placements)
    expected = evaluated(operation, case, placements, dtype=torch.float64)
    options = {"device": device, "mark": kind == "known as bits"}
    found, *others = (evaluated(operation, case, placements, layout=layout, **options) for layout in LAYOUTS)
    for single, double in zip(found, expected, strict=True):
        assert single.shape == double.shape
        error = (single.cpu().double() - double).norm() / double.norm()
        assert error < 2e-5  # 16 bits of precision in the gradient of the logits on a GPU
    for other in others:
        assert all(map(torch.equal, found, other))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("form", ["dense", "candidates"])
def test_without_samples_gradients_are_zero(form, operation, backend):
    _, x_grad, *others = evaluated(operation, draw(form, False, 0, 3, 1, CASES[1]), CASES[1], device_of(backend))
    assert x_grad.shape == (0, CASES[1].features)
    assert not any(gradient.any() for gradient in others)


@pytest.mark.parametrize("operation", ["multilinear", "hybrid", "lookup"])
@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("placements", CASES[:2], ids=IDS[:2])
def test_the_reference_reads_through_a_wiring_as_banks_read_what_was_selected(placements, form, operation):
    case = draw(form, False, 5, 3, 2, placements)
    found = evaluated(operation, case, placements, dtype=torch.float64)
    x, logits, candidates, table, slope, grad = (
        tensor if tensor is None or tensor.dtype == torch.int64 else tensor.double() for tensor in case
    )
    inputs = [tensor.clone().requires_grad_() for tensor in (x, logits, table)]
    pins = kernels.select(inputs[0], inputs[1], candidates, placements, tau=0.2)
    y = OPERATIONS[operation](own_wiring(3, placements), slope)(pins, inputs[2])
    torch.testing.assert_close(found, (y.detach(), *torch.autograd.grad(y, inputs, grad)))


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
@pytest.mark.parametrize("operation", ["multilinear", "hybrid", "lookup"])
def test_what_pins_read_is_never_written_down(operation, backend, monkeypatch):
    placements, saved = CASES[1], []
    case = draw("candidates", False, 128, 6, 1, placements)
    device, dtype = ("cpu", torch.float64) if backend == "reference" else (device_of(backend), torch.float32)
    monkeypatch.setattr(Choice, "float", lambda choice: pytest.fail("what the pins read was written down"))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        run(operation, case, placements, device, dtype)
    assert NODES * placements.count < max(saved) <= 128 * NODES * placements.count


@pytest.mark.parametrize("operation", ["multilinear", "hybrid"])
def test_extensions_do_not_depend_on_the_number_of_threads(operation):
    placements = Placements(3, 9, 10, (3, 3), padding=(1, 1))
    case, results = draw("candidates", False, 130, 6, 1, placements), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(evaluated(operation, case, placements))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_nodes_with_another_wiring_read_what_was_selected():
    placements = CASES[0]
    x, logits, candidates, table, *_ = draw("candidates", False, 4, 2, 1, placements)
    choice = Choice(x, logits, candidates, placements, 0.2)
    where = Placements(2 * NODES, placements.out_height, placements.out_width)
    swapped = PlacedWiring(torch.arange(2 * NODES).view(NODES, 2).flip(1), where)
    found = kernels.multilinear(choice, swapped, table)
    assert torch.equal(found, kernels.multilinear(choice.float(), swapped, table))
    assert not torch.equal(found, kernels.multilinear(choice, own_wiring(2, placements), table))
