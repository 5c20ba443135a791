import pytest
import torch

from difflut import kernels
from difflut.kernels import cpp
from difflut.kernels.cpp import calling
from difflut.kernels.cpp.recycling import LARGE, idle
from tests.kernels.operations import (
    LAYOUTS,
    OPERATIONS,
    assert_as_in_double,
    assert_empty_ones_work,
    assert_empty_selections_work,
    evaluated,
    selected,
    selection,
)

pytestmark = pytest.mark.needs("c++")


@pytest.fixture(params=[(), ("-DDIFFLUT_PORTABLE",)], ids=["native", "portable"], autouse=True, scope="module")
def library(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calling, "FLAGS", calling.FLAGS + request.param)
        calling.library.cache_clear()
        assert cpp.available()
        yield
    calling.library.cache_clear()


@pytest.fixture(params=[1, 2])
def threads(request, one_thread):
    torch.set_num_threads(request.param)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch", [1, 3, 17, 128, 131])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", range(1, 9))
def test_agrees_with_the_reference_in_double_precision(make_bank, gradients, operation, n, m, batch):
    assert_as_in_double(make_bank(n, m, batch), gradients, operation, "cpp")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_takes_any_strides(make_bank, gradients, operation, layout, threads):
    assert_as_in_double(make_bank(6, 2, batch=131, nodes=211, features=97), gradients, operation, "cpp", layout)


@pytest.mark.parametrize("n", range(1, 9))
def test_binary_inputs_give_the_entries_of_the_table_exactly(make_bank, gradients, n):
    bank = make_bank(n, 2, batch=67, binary=True)
    assert_as_in_double(bank, gradients, "multilinear", "cpp")
    y = kernels.multilinear(bank.x, bank.wiring, bank.table)
    assert torch.equal(y, kernels.lookup(bank.x, bank.wiring, bank.table))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_results_do_not_depend_on_the_number_of_threads(make_bank, gradients, operation):
    bank = make_bank(6, 1, batch=200, nodes=300, features=150)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(evaluated(bank, gradients, operation))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_outputs_and_gradients_are_stored_batch_last(make_bank, gradients, operation):
    bank = make_bank(6, 2, batch=20)
    y, x_grad, _ = evaluated(bank, gradients, operation)
    assert y.t().is_contiguous() and x_grad.t().is_contiguous()


def test_takes_expanded_gradients(make_bank):
    bank = make_bank(5, 1, batch=70)
    table = bank.table.requires_grad_()
    kernels.lookup(bank.x, bank.wiring, table).sum().backward()
    assert torch.equal(table.grad.sum((1, 2)), torch.full((len(table),), 70.0))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch,nodes", [(0, 5), (5, 0)])
def test_takes_empty_banks_and_batches(make_bank, gradients, operation, batch, nodes):
    assert_empty_ones_work(make_bank(3, 2, batch=4, nodes=6), gradients, operation, "cpu", batch, nodes)


def test_lookup_keeps_only_bits_of_its_inputs(make_bank):
    bank = make_bank(6, 1, batch=128)
    _, kept = cpp.lookup(bank.x, bank.wiring, bank.table, kernels.Placements(bank.x.shape[1]))
    assert kept.data.numel() * kept.data.element_size() * 32 == bank.x.numel() * bank.x.element_size()


def test_fourier_takes_inputs_of_several_periods(make_bank, gradients):
    bank = make_bank(6, 1, batch=60)
    bank.x = 9 * bank.x - 5
    assert_as_in_double(bank, gradients, "fourier", "cpp")


def test_bits_are_known_as_such():
    x = torch.rand(70, 9).round()
    assert all(kernels.are_bits(arrange(x)) for name, arrange in LAYOUTS.items())
    x[69, 4] = 0.5
    assert not kernels.are_bits(x) and not kernels.are_bits(x.t())
    assert not kernels.are_bits(x.double().round())  # the reference does not look


@pytest.mark.parametrize("shape", [(3, 1, 2), (5, 3, 32), (700, 2, 64)])
def test_binarize_clamps_and_thresholds_as_the_reference_does(shape, threads):
    values = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values.view(-1)[:4] = torch.tensor([0.0, -0.0, 1.0, float("nan")])
    clamped = values.clone()
    hard, _ = kernels.binarize(clamped)
    with kernels.use_backend("reference"):
        expected, _ = kernels.binarize(values)
    torch.testing.assert_close((clamped, hard), (values, expected), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("n", range(1, 9))
def test_smoothed_tables_are_as_in_double(n, threads):
    values, corners = 2 * torch.rand(1500 >> n, 3, 2**n) - 1, torch.arange(2**n)
    smoothing = torch.randn(2**n)[corners[:, None] ^ corners]
    _, slope = kernels.binarize(values, smoothing)
    expected = values.double() @ smoothing.double()
    # Sums of 2**n products, of which float32 rounds each to 2**-24 of it.
    torch.testing.assert_close(slope, expected.float(), rtol=0, atol=2e-7 * 2**n)


@pytest.mark.parametrize("bad", [-1, 37])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_unknown_inputs_are_an_error(make_bank, operation, bad):
    bank = make_bank(4, 1, batch=8)
    bank.wiring[3, 2] = bad
    with pytest.raises(ValueError, match=f"{bad}.*37 features: its entries must be 0 to 36"):
        OPERATIONS[operation](bank.wiring, bank.slope)(bank.x, bank.table)


@pytest.mark.parametrize("tau", [0.001, 0.3])
@pytest.mark.parametrize("batch", [1, 3, 64, 67, 128, 131, 300])
@pytest.mark.parametrize("binary", [True, False], ids=["bits", "real"])
@pytest.mark.parametrize("form", ["dense", "candidates"])
def test_select_agrees_with_the_reference_in_double_precision(form, binary, batch, tau):
    case = selection(form, binary, batch)
    y, *gradients = selected(case, tau)
    expected, *expected_gradients = selected(case, tau, torch.float64)
    assert torch.equal(y.double(), expected) and y.t().is_contiguous()
    for single, double in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=3e-5)  # sums of up to 300 terms


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("binary", [True, False], ids=["bits", "real"])
@pytest.mark.parametrize("form", ["dense", "candidates"])
def test_select_takes_any_strides(form, binary, layout, threads):
    case = selection(form, binary, batch=131, features=300, pins=2100)
    found, expected = selected(case, 0.01, arrange=LAYOUTS[layout]), selected(case, 0.01, torch.float64)
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-4)  # sums of up to 2100 terms


@pytest.mark.parametrize("form", ["dense", "candidates"])
def test_selection_does_not_depend_on_the_number_of_threads(form):
    case = selection(form, True, batch=200, features=300, pins=4200)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(selected(case, 0.1))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_gradients_that_live_at_once_do_not_share_memory():
    case = selection("dense", True, batch=8, features=1100, pins=1000)
    assert case[1].numel() > LARGE
    for _ in range(2):  # the second time in the memory of the first
        first = selected(case, 0.1, needs_x=False)[1]
        kept = first.clone()
        second = selected((*case[:3], 2 * case[3]), 0.1, needs_x=False)[1]
        assert torch.equal(first, kept) and torch.equal(second, 2 * first)
        address = first.data_ptr()
        del first, second
    assert address in {tensor.data_ptr() for tensor in idle[case[1].numel()]}


@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("batch,pins", [(0, 5), (5, 0)])
def test_select_takes_empty_batches_and_no_pins(form, batch, pins):
    assert_empty_selections_work(form, batch, pins, "cpu")


@pytest.mark.parametrize("bad", [-1, 150])
def test_unknown_candidates_are_an_error(bad):
    x, logits, candidates, _ = selection("candidates", True, 5)
    candidates[7, 2] = bad
    with pytest.raises(ValueError, match=f"{bad}.*150 features: its entries must be 0 to 149"):
        kernels.select(x, logits, candidates)


def trained(make, start, x, upstream, dtype, steps=4, weight_decay=0.0):
    """Logits, a parameter beside them and the optimizer after some steps with changing rates."""
    logits, beside = (torch.nn.Parameter(tensor.to(dtype, copy=True)) for tensor in start)
    optimizer = make([logits, beside], lr=0.001, betas=(0.8, 0.99), weight_decay=weight_decay)
    optimizer.takes_factors = True
    for number in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + number)
        optimizer.zero_grad()
        y = kernels.select(x.to(dtype), logits)
        ((y * upstream.to(dtype)).sum() + beside.sin().sum()).backward()
        optimizer.step()
    return logits, beside, optimizer


@pytest.mark.parametrize("batch", [1, 33, 128, 131])
def test_adam_with_factors_agrees_with_torch_in_double_precision(batch, threads):
    pins = 300
    generator = torch.Generator().manual_seed(batch)
    x = torch.rand(batch, 150, generator=generator).round()
    start = torch.rand(150, pins, generator=generator), torch.randn(70_001, generator=generator)
    # Far from 0: where gradients nearly cancel, a step is as large with either sign of what is left.
    upstream = torch.rand(batch, pins, generator=generator) + 0.01 + torch.arange(batch)[:, None] % 7
    given = start, x, upstream
    logits, beside, optimizer = trained(kernels.Adam, *given, torch.float32, weight_decay=3.0)
    assert (logits.grad is None) == (batch <= cpp.FACTORED_BATCH)
    expected, beside_expected, reference = trained(torch.optim.AdamW, *given, torch.float64, weight_decay=3.0)
    torch.testing.assert_close(beside.double(), beside_expected, rtol=1e-6, atol=1e-6)
    found, expected_state = optimizer.state[logits], reference.state[expected]
    for name in ("exp_avg", "exp_avg_sq"):
        # Sums of up to 131 terms of up to 8, in single precision.
        torch.testing.assert_close(found[name].double(), expected_state[name], rtol=1e-4, atol=3e-4)
    close = (logits.double() - expected).abs() < 1e-5
    assert close.double().mean() > 0.99
    assert torch.equal(kernels.select(x, logits), x.t()[logits.argmax(0)].t())


def test_the_best_inputs_are_searched_again_when_the_logits_change():
    x = torch.rand(6, 40).round()
    logits, *_ = trained(kernels.Adam, (torch.rand(40, 9), torch.rand(3)), x, torch.rand(6, 9), torch.float32)
    with torch.no_grad():
        logits[7] = 5
    assert torch.equal(kernels.select(x, logits), x[:, 7:8].expand(6, 9))
    logits, *_ = trained(kernels.Adam, (torch.rand(40, 9), torch.rand(3)), x, torch.rand(6, 9), torch.float32)
    logits.data = logits.data.roll(1, 0)
    assert torch.equal(kernels.select(x, logits), x.t()[logits.argmax(0)].t())


def test_adam_multiplies_factors_where_another_gradient_is_missing():
    x, upstream, start = torch.rand(6, 40).round(), torch.rand(6, 9), torch.rand(40, 9)
    results = []
    for make in (kernels.Adam, torch.optim.Adam):
        logits, idle = torch.nn.Parameter(start.clone()), torch.nn.Parameter(torch.ones(2))
        optimizer = make([logits, idle], lr=0.1)
        optimizer.takes_factors = True
        for _ in range(3):
            optimizer.zero_grad()
            (kernels.select(x, logits) * upstream).sum().backward()
            optimizer.step()
        assert torch.equal(idle, torch.ones(2))
        results.append(logits)
    torch.testing.assert_close(*results)


def test_adam_continues_from_a_state_with_one_count_of_steps():
    parameters = [torch.nn.Parameter(torch.ones(5)) for _ in range(2)]
    optimizer = kernels.Adam(parameters, lr=0.1)
    steps = torch.tensor(4.0)
    for p in parameters:
        optimizer.state[p] = {"step": steps, "exp_avg": torch.ones(5), "exp_avg_sq": torch.ones(5)}
        p.grad = torch.ones(5)
    optimizer.step()
    assert [optimizer.state[p]["step"].item() for p in parameters] == [5, 5]
    assert torch.equal(*parameters)
