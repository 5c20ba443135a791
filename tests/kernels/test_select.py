import pytest
import torch

from difflut import kernels
from difflut.kernels import cuda
from tests.kernels.operations import selection

KINDS = {"real": lambda x: x, "binary": torch.round, "known as bits": lambda x: kernels.mark_bits(x.round())}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_dense_reads_the_best_input_with_straight_through_gradients():
    x, logits, g = draw(6, 5).sigmoid().requires_grad_(), draw(5, 7, seed=1).requires_grad_(), draw(6, 7, seed=2)
    y = kernels.select(x, logits, tau=0.3)
    for pin in range(7):
        assert torch.equal(y[:, pin], x[:, logits[:, pin].argmax()])
    x_grad, logits_grad = torch.autograd.grad(y, (x, logits), g)
    torch.testing.assert_close(logits_grad, (2 * x - 1).T @ g)
    torch.testing.assert_close(x_grad, g @ torch.softmax(logits / 0.3, 0).T)


def test_all_inputs_as_candidates_equal_the_dense_form():
    x, logits, g = draw(6, 5).sigmoid().requires_grad_(), draw(5, 7, seed=1).requires_grad_(), draw(6, 7, seed=2)
    orders = torch.stack([torch.randperm(5, generator=torch.Generator().manual_seed(pin)) for pin in range(7)])
    dense = kernels.select(x, logits, tau=0.3)
    sparse = kernels.select(x, logits.T.gather(1, orders), orders, tau=0.3)
    assert torch.equal(dense, sparse)
    found, expected = (torch.autograd.grad(y, (x, logits), g) for y in (sparse, dense))
    torch.testing.assert_close(found, expected)


def test_a_candidate_listed_twice_gets_both_shares():
    x, logits = draw(4, 3).sigmoid().requires_grad_(), torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    y = kernels.select(x, logits, torch.tensor([[2, 2]]), tau=1.0)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 0.0, 1.0]).double().expand(4, 3))
    torch.testing.assert_close(logits.grad, (2 * x[:, 2] - 1).sum().expand(1, 2))


def test_output_is_stored_batch_last():
    assert kernels.select(draw(6, 5), draw(5, 7)).t().is_contiguous()


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    soft = draw(3, 4).requires_grad_()
    hard = (soft > 0).double().requires_grad_()
    y = kernels.straight_through(hard, soft)
    y.backward(draw(3, 4, seed=1))
    assert torch.equal(y, hard)
    assert torch.equal(soft.grad, draw(3, 4, seed=1))
    assert hard.grad is None


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((draw(6, 5), draw(4, 7)), "among 4 inputs, but x has 5"),
        ((draw(6, 5), draw(5, 7).float()), "one dtype"),
        ((draw(6, 5), draw(7, 3), torch.zeros(7, 2, dtype=torch.int64)), r"\(7, 3\), and int64, got \(7, 2\)"),
        ((draw(6, 5)[0], draw(5, 7)), "two axes"),
        ((draw(6, 0), draw(0, 7)), "at least one input"),
        ((draw(6, 5), draw(7, 0), torch.zeros(7, 0, dtype=torch.int64)), "at least one input"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernels.select(*arguments)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("batch", [1, 40, 128, 300])
@pytest.mark.parametrize("n,m", [(1, 1), (3, 2), (6, 1), (8, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_learned_lookup_is_a_lookup_of_what_was_selected(kind, n, m, batch, device):
    generator = torch.Generator().manual_seed(n)
    x = torch.rand(batch, 70, generator=generator).double()
    logits = torch.rand(70, 21 * n, generator=generator)
    logits[5] = logits[3] = 1.5  # of equal logits the first is taken
    table, slope = (torch.randn(21, m, 2**n, generator=generator) for _ in range(2))
    grad = torch.randn(batch, 21 * m, generator=generator)

    def gradients(operation, device, dtype):
        inputs = [tensor.to(device, dtype).requires_grad_() for tensor in (logits, table)]
        y = operation(KINDS[kind](x.to(device, dtype)), *inputs, slope.to(device, dtype))
        return y.detach(), *torch.autograd.grad(y, inputs, grad.to(device, dtype))

    def separate(x, logits, table, slope):
        pins = torch.arange(21 * n).view(21, n)
        return kernels.lookup(kernels.select(x, logits), pins, table, slope)

    expected = gradients(separate, "cpu", torch.float64)
    found = gradients(kernels.learned_lookup, device, torch.float32)
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-4, atol=1e-3)  # bfloat16 pairs: 16 bits


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("batch,choices", [(1, 5), (40, 32), (128, 33), (300, 70)])
@pytest.mark.parametrize("n,m", [(2, 1), (3, 2), (6, 1), (8, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_learned_lookup_among_candidates_is_a_lookup_of_what_was_selected(kind, n, m, batch, choices, device):
    generator = torch.Generator().manual_seed(n)
    x = torch.rand(batch, 2 * 70, generator=generator)[:, ::2]
    candidates = torch.randint(70, (21 * n, choices), generator=generator)
    logits = torch.rand(21 * n, choices, generator=generator)
    table, slope = (torch.randn(21, m, 2**n, generator=generator) for _ in range(2))
    grad = torch.randn(batch, 21 * m, generator=generator)

    def gradients(operation, device, dtype):
        inputs = [KINDS[kind](x.to(device, dtype)), logits.to(device, dtype), table.to(device, dtype)]
        inputs = [tensor.requires_grad_() for tensor in inputs]
        y = operation(*inputs, slope.to(device, dtype), candidates.to(device), tau=0.2)
        return y.detach(), *torch.autograd.grad(y, inputs, grad.to(device, dtype))

    def separate(x, logits, table, slope, candidates, tau):
        pins = torch.arange(21 * n).view(21, n)
        return kernels.lookup(kernels.select(x, logits, candidates, tau=tau), pins, table, slope)

    expected = gradients(separate, "cpu", torch.float64)
    found = gradients(kernels.learned_lookup, device, torch.float32)
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=2e-4)  # sums of up to 300 terms


def factored_adam(parameters, lr, weight_decay=0.0):
    optimizer = kernels.Adam(parameters, lr, weight_decay=weight_decay)
    optimizer.takes_factors = True
    return optimizer


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_no_gradient_is_missing_where_factors_were_not_asked_for(device):
    x = kernels.mark_bits(torch.rand(32, 70).round().to(device))
    logits, tables = (torch.nn.Parameter(torch.rand(shape, device=device)) for shape in ((70, 126), (21, 1, 64)))
    optimizer = kernels.Adam([logits, tables])
    for _ in range(2):
        optimizer.zero_grad()
        (kernels.learned_lookup(x, logits, tables, torch.rand_like(tables)) ** 2).sum().backward()
        norms = torch.stack([p.grad.norm() for p in (logits, tables)])
        assert norms.min() > 0
        torch.testing.assert_close(torch.nn.utils.clip_grad_norm_([logits, tables], 1.0), norms.norm())
        optimizer.step()


@pytest.mark.parametrize("device,most", [("cpu", 128), pytest.param("cuda", 64, marks=pytest.mark.cuda)])
@pytest.mark.parametrize("batch,decay", [(1, 0.0), (32, 9.0), (50, 0.0), (64, 9.0), (200, 9.0)])
def test_adam_takes_the_gradient_of_the_logits_as_factors(batch, decay, device, most):
    x, labels = kernels.mark_bits(torch.rand(batch, 70).round().to(device)), torch.randn(batch, 21).to(device)
    table, slope = torch.rand(21, 1, 64).to(device), torch.randn(21, 1, 64).to(device)
    start = torch.rand(70, 126)

    def trained(make):
        logits, tables = torch.nn.Parameter(start.clone().to(device)), torch.nn.Parameter(table.clone())
        optimizer = make([logits, tables])
        for _ in range(3):
            optimizer.zero_grad()
            (kernels.learned_lookup(x, logits, tables, slope) * labels).sum().backward()
            factored = logits.grad is None
            optimizer.step()
        return logits, tables, factored

    found = trained(lambda p: factored_adam(p, lr=0.001, weight_decay=decay))
    expected = trained(lambda p: torch.optim.AdamW(p, lr=0.001, weight_decay=decay))
    assert found[2] == (batch <= most) and not expected[2]
    torch.testing.assert_close(found[:2], expected[:2], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changed,message",
    [
        ({"slope": torch.rand(5, 1, 16)}, r"slope needs the table's shape .* \(5, 1, 8\) .* got \(5, 1, 16\)"),
        ({"slope": torch.rand(5, 1, 8).double()}, "got .*float64"),
        ({"x": torch.rand(6, 10).double(), "logits": torch.rand(15, 4).double()}, "x and table need one dtype"),
        ({"table": torch.rand(5, 1, 512), "slope": torch.rand(5, 1, 512)}, "1 to 8 inputs .* tables of 512"),
        ({"table": torch.rand(5, 1, 20), "slope": torch.rand(5, 1, 20)}, "tables of 20"),
        ({"table": torch.rand(5, 8), "slope": torch.rand(5, 8)}, "needs the shape"),
        ({"table": torch.rand(4, 1, 8), "slope": torch.rand(4, 1, 8)}, "4 nodes of n=3 need 12 pins, got logits of 15"),
        ({"x": torch.rand(6, 9), "candidates": torch.full((15, 4), 9)}, "reads inputs 9 to 9, but x has 9 features"),
    ],
)
def test_arguments_of_learned_lookup_that_do_not_fit_are_an_error(changed, message):
    fitting = {
        "x": torch.rand(6, 10),
        "logits": torch.rand(15, 4),
        "table": torch.rand(5, 1, 8),
        "slope": torch.rand(5, 1, 8),
        "candidates": torch.randint(10, (15, 4)),
    }
    assert kernels.learned_lookup(**fitting).shape == (6, 5)
    with pytest.raises(ValueError, match=message):
        kernels.learned_lookup(**fitting | changed)


@pytest.mark.cuda
@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("batch", [3, 128, 300])
def test_select_reads_packed_bits(form, batch):
    x, logits, candidates, grad = (
        tensor if tensor is None else tensor.cuda() for tensor in selection(form, True, batch)
    )
    logits.requires_grad_()
    bits = kernels.Bits(cuda.pack(x), batch)
    found, expected = (kernels.select(inputs, logits, candidates) for inputs in (bits, x))
    assert torch.equal(found, expected)
    found, expected = (torch.autograd.grad(y, logits, grad)[0] for y in (found, expected))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_adam_trains_the_logits_of_candidates_as_that_of_torch():
    x, labels = (torch.rand(13, 40) > 0.5).float(), torch.randn(13, 60)
    candidates, start = torch.stack([torch.randperm(40)[:4] for _ in range(60)]), torch.rand(60, 4)

    def trained(make):
        logits = torch.nn.Parameter(start.clone())
        optimizer = make([logits])
        for _ in range(3):
            optimizer.zero_grad()
            (kernels.select(x, logits, candidates) * labels).sum().backward()
            optimizer.step()
        return logits

    found, expected = (trained(lambda p, kind=kind: kind(p, lr=0.001)) for kind in (kernels.Adam, torch.optim.Adam))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


OPTIMIZERS = {
    "ours": lambda p: kernels.Adam(p, lr=0.1),
    "ours, with factors": lambda p: factored_adam(p, lr=0.1),
    "torch's, fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_pins_follow_their_logits_whoever_changes_them(device, make):
    x, weights = (torch.rand(9, 12) > 0.5).float().to(device), torch.randn(9, 30).to(device)
    table, slope = torch.rand(5, 1, 64).to(device), torch.randn(5, 1, 64).to(device)
    logits = torch.nn.Parameter(torch.rand(12, 30, device=device))
    optimizer = make([logits])
    for passes in (1, 2, 1, 1):  # the gradients of two backward passes are no factors
        optimizer.zero_grad()
        for _ in range(passes):
            (kernels.select(x, logits) * weights).sum().backward()
        optimizer.step()
        read, best = kernels.select(x, logits), logits.argmax(0)
        assert torch.equal(read, x[:, best])
        found = kernels.learned_lookup(x, logits, table, slope)
        assert torch.equal(found, kernels.lookup(x, best.view(5, 6), table, slope))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("choices", [1, 5, 32, 70])
def test_a_pin_reads_the_first_of_its_largest_candidates(choices, device):
    generator = torch.Generator().manual_seed(choices)
    logits = torch.randint(-2, 3, (300, choices), generator=generator) / 2
    logits[::2] *= 0  # 0 and -0 are equal
    logits[0] = -torch.inf
    candidates = torch.stack([torch.randperm(70, generator=generator)[:choices] for _ in range(300)])
    x = torch.randn(3, 70, generator=generator)
    y = kernels.select(x.to(device), logits.to(device), candidates.to(device))
    assert torch.equal(y.cpu(), x[:, candidates.gather(1, logits.argmax(1, keepdim=True))[:, 0]])
