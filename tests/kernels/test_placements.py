import pytest
import torch
import torch.nn.functional as F

from difflut import kernels
from difflut.kernels import PlacedWiring, Placements
from tests.kernels.operations import (
    BACKENDS,
    LAYOUTS,
    OPERATIONS,
    assert_as_in_double,
    device_of,
    evaluated,
    learned,
    selected,
    selection,
)

CASES = [
    Placements(1, 5, 4, (2, 3)),
    Placements(3, 6, 5, (3, 3), padding=(1, 1)),
    Placements(2, 7, 8, (3, 2), stride=(2, 3), padding=(2, 0)),
    Placements(4, 6, 6, (2, 2), stride=(2, 2)),
    Placements(5, 3, 4),
]
IDS = [f"{p.channels}x{p.height}x{p.width} kernel {p.kernel} stride {p.stride} padding {p.padding}" for p in CASES]


def unfolded(x, placements):
    """What every placement sees, (batch * P, window)."""
    images = x.view(len(x), placements.channels, placements.height, placements.width)
    options = {"stride": placements.stride, "padding": placements.padding}
    return F.unfold(images, placements.kernel, **options).transpose(1, 2).flatten(0, 1)


def folded(y, placements, batch):
    """The outputs at all placements, (batch * P, outputs), as a layer gives them: (batch, outputs * P)."""
    return y.view(batch, placements.count, -1).transpose(1, 2).flatten(1)


def placed(bank, placements):
    """The bank with a wiring that is read at every placement."""
    bank.wiring = PlacedWiring(bank.wiring, placements)
    return bank


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n", [1, 3, 6])
@pytest.mark.parametrize("placements", CASES, ids=IDS)
def test_a_placed_bank_is_the_bank_on_every_window(make_placed_bank, gradients, placements, n, operation):
    bank = make_placed_bank(placements, n)
    x, table, slope, grad = (tensor.double() for tensor in (bank.x, bank.table, bank.slope, bank.grad))
    build = OPERATIONS[operation]
    dense = build(bank.wiring, slope)
    found = gradients(build(PlacedWiring(bank.wiring, placements), slope), x, table, grad)
    expected = gradients(
        lambda x, table: folded(dense(unfolded(x, placements), table), placements, len(x)), x, table, grad
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("placements", CASES, ids=IDS)
def test_placed_selection_is_selection_in_every_window(placements, form):
    generator = torch.Generator().manual_seed(placements.window)
    x = torch.rand(4, placements.features, generator=generator).double().requires_grad_()
    candidates = torch.randint(placements.window, (9, 3), generator=generator) if form == "candidates" else None
    shape = (placements.window, 9) if candidates is None else candidates.shape
    logits = torch.rand(shape, generator=generator).double().requires_grad_()
    grad = torch.randn(4, 9 * placements.count, generator=generator).double()
    found = kernels.select(x, logits, candidates, placements, tau=0.3)
    dense = kernels.select(unfolded(x, placements), logits, candidates, tau=0.3)
    expected = folded(dense, placements, len(x))
    assert torch.equal(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (x, logits), grad), torch.autograd.grad(expected, (x, logits), grad)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 8])
@pytest.mark.parametrize("placements", CASES, ids=IDS)
def test_placed_banks_agree_with_the_reference_in_double_precision(
    make_placed_bank, gradients, placements, n, operation, backend
):
    for batch, binary in [(3, False), (128, True), (131, False)]:
        bank = placed(make_placed_bank(placements, n, 2, batch, binary), placements)
        assert_as_in_double(bank, gradients, operation, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_placed_banks_take_any_strides(make_placed_bank, gradients, layout, operation, backend):
    bank = placed(make_placed_bank(CASES[2], 6, 1, 67), CASES[2])
    assert_as_in_double(bank, gradients, operation, backend, layout)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("binary", [True, False], ids=["bits", "real"])
@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("placements", CASES, ids=IDS)
def test_placed_selection_agrees_with_the_reference_in_double_precision(placements, form, binary, layout, backend):
    device, options = device_of(backend), {"arrange": LAYOUTS[layout], "placements": placements}
    for batch in (3, 64, 131):
        case = selection(form, binary, batch, pins=18, choices=17, placements=placements)
        expected = selected(case, 0.3, torch.float64, placements=placements)
        for single, double in zip(selected(case, 0.3, device=device, **options), expected, strict=True):
            error = (single.cpu().double() - double).norm() / double.norm()
            assert error < 1e-5  # 16 bits of precision in the gradient of the logits on a GPU


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("binary", [True, False], ids=["bits", "real"])
@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("placements", [*CASES, Placements(40)], ids=[*IDS, "dense"])
def test_placed_learned_lookups_agree_with_the_reference_in_double_precision(placements, form, binary, n, backend):
    generator, m, device = torch.Generator().manual_seed(n), 2, device_of(backend)
    for batch, tau in [(3, 0.3), (131, 0.01)]:
        case = selection(form, binary, batch, pins=9 * n, choices=17, placements=placements)
        table, slope = torch.rand(9, m, 2**n, generator=generator), torch.randn(9, m, 2**n, generator=generator)
        grad = torch.randn(batch, 9 * m * placements.count, generator=generator)
        given = (case, tau, table, slope, grad)
        expected = learned(*given, torch.float64, placements=placements)
        found = learned(*given, arrange=LAYOUTS["strided"], device=device, placements=placements)
        assert torch.equal(found[0].cpu().double(), expected[0])
        for single, double in zip(found, expected, strict=True):
            error = (single.cpu().double() - double).norm() / double.norm()
            assert error < 1e-5  # 16 bits of precision in the gradient of the logits on a GPU


@pytest.mark.parametrize("operation", OPERATIONS)
def test_placed_banks_do_not_depend_on_the_number_of_threads(make_placed_bank, gradients, operation):
    placements = Placements(3, 14, 15, (3, 3), padding=(1, 1))
    bank = placed(make_placed_bank(placements, 6, 1, 130), placements)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(evaluated(bank, gradients, operation))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("form", ["dense", "candidates"])
def test_placed_learned_lookups_do_not_depend_on_the_number_of_threads(form):
    generator, placements = torch.Generator().manual_seed(0), Placements(3, 9, 10, (3, 3), padding=(1, 1))
    case = selection(form, True, 130, pins=60, placements=placements)
    table, slope = torch.rand(10, 1, 64, generator=generator), torch.randn(10, 1, 64, generator=generator)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(learned(case, 0.1, table, slope, torch.ones(130, 900), placements=placements))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"channels": 0}, "must be positive"),
        (
            {"channels": 2, "height": 4, "width": 9, "kernel": (5, 5)},
            "does not fit an image of height=4 with padding=0",
        ),
        ({"channels": 2, "height": 4, "width": 4, "kernel": (3, 3), "padding": (3, 0)}, "smaller than the kernel"),
        ({"channels": 2, "stride": (0, 1)}, "must be positive"),
    ],
)
def test_placements_that_cannot_be_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Placements(**arguments)


def test_a_placed_wiring_must_fit_its_image_and_window():
    placements = Placements(2, 4, 4, (3, 3))
    wiring, table = torch.randint(placements.window, (5, 3)), torch.rand(5, 1, 8)
    with pytest.raises(ValueError, match="2 channels of 4 x 4 pixels need 32 features, got x with 18"):
        kernels.lookup(torch.rand(2, 18), PlacedWiring(wiring, placements), table)
    wiring[3, 1] = 18
    with pytest.raises(ValueError, match="the window has 18 inputs: its entries must be 0 to 17"):
        kernels.lookup(torch.rand(2, 32), PlacedWiring(wiring, placements), table)
