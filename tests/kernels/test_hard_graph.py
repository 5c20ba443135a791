import pytest
import torch

from difflut import kernels
from difflut.kernels import HardBank, LearnedBank, Maximum, PlacedWiring, Placements, cpp
from difflut.kernels.hard_banks import Plan
from tests.kernels.operations import device_of

BACKENDS = ["reference", "cpp", pytest.param("cuda", marks=pytest.mark.cuda)]
IMAGE, POOLED = Placements(3, 6, 6, (3, 3), padding=(1, 1)), Placements(5, 6, 6, (2, 2), (2, 2))
WIDE, JOINED = Placements(8, 6, 6, (3, 2), (2, 2), (1, 0)), Placements(10, 3, 3)
DENSE = Placements(37)

# Kind and placements of each bank with its nodes, n and m, what they read, and what is returned. Two inputs come first.
GRAPHS = {
    "pooling": ([108], [("table", IMAGE, 5, 6, 1), ("largest", POOLED, 5, 4, 1)], [[0], [1]], [2]),
    "pooling between": (
        [108],
        [("table", IMAGE, 5, 6, 1), ("smallest", POOLED, 5, 4, 1), ("table", Placements(45), 12, 5, 1)],
        [[0], [1], [2]],
        [3],
    ),
    "skip and two paths": (
        [108],
        [
            ("table", IMAGE, 5, 4, 1),
            ("table", WIDE, 5, 6, 2),
            ("largest", POOLED, 5, 4, 1),
            ("largest", Placements(15, 3, 3), 7, 3, 1),
        ],
        [[0], [0, 1], [1], [3, 2]],
        [4],
    ),
    "all is returned": (
        [108],
        [("table", IMAGE, 5, 4, 1), ("largest", POOLED, 5, 4, 1), ("table", Placements(225), 9, 3, 2)],
        [[0], [1], [2, 1]],
        [1, 2, 3],
    ),
    "two inputs": (
        [37, 12],
        [("table", Placements(49), 20, 6, 1), ("table", Placements(69), 3, 2, 1)],
        [[1, 0], [2, 0, 1]],
        [3],
    ),
    "the same twice": ([37], [("table", DENSE, 11, 3, 1), ("largest", Placements(22), 8, 7, 1)], [[0], [1, 1]], [2]),
    "learned wirings": (
        [108],
        [
            ("few", IMAGE, 5, 4, 1),
            ("largest", POOLED, 5, 4, 1),
            ("all", Placements(5, 3, 3, (2, 2)), 6, 3, 2),
            ("table", Placements(48), 15, 5, 1),
            ("few", Placements(15), 9, 6, 1),
        ],
        [[0], [1], [2], [3], [4]],
        [5],
    ),
    "learned wirings of two sources": (
        [37, 12],
        [("all", Placements(49), 20, 6, 1), ("few", Placements(69), 3, 2, 2), ("all", Placements(20), 6, 4, 1)],
        [[1, 0], [2, 0, 1], [2]],
        [3, 4],
    ),
    "read by nobody": ([37], [("table", DENSE, 11, 3, 1), ("table", DENSE, 5, 4, 1)], [[0], [0]], [1]),
}


def random_graph(inputs, banks, batch):
    generator = torch.Generator().manual_seed(len(banks) + batch)
    x = [(torch.rand(batch, features, generator=generator) > 0.5).double() for features in inputs]
    made = []
    for kind, placements, nodes, n, m in banks:
        wiring = PlacedWiring(torch.randint(placements.window, (nodes, n), generator=generator), placements)
        table = (torch.rand(nodes, m, 2**n, generator=generator) > 0.5).double()
        slope = torch.randn(nodes, m, 2**n, generator=generator).double()
        if kind in ("few", "all"):
            candidates = (
                torch.randint(placements.window, (nodes * n, 5), generator=generator) if kind == "few" else None
            )
            logits = torch.randn(
                (nodes * n, 5) if kind == "few" else (placements.window, nodes * n), generator=generator
            )
            made.append(LearnedBank(logits.double(), table, slope, candidates, placements, 0.4))
        else:
            made.append(HardBank(wiring, table, slope) if kind == "table" else Maximum(wiring, kind == "smallest"))
    return x, made


def on(bank, device, dtype):
    if isinstance(bank, LearnedBank):
        logits = bank.logits.to(device, dtype, copy=True).requires_grad_()
        table = kernels.mark_bits(bank.table.to(device, dtype, copy=True)).requires_grad_()
        candidates = None if bank.candidates is None else bank.candidates.to(device)
        return LearnedBank(logits, table, bank.slope.to(device, dtype), candidates, bank.placements, bank.tau)
    wiring = PlacedWiring(bank.wiring.wiring.to(device), bank.wiring.placements)
    if isinstance(bank, Maximum):
        return Maximum(wiring, bank.least)
    table = kernels.mark_bits(bank.table.to(device, dtype, copy=True)).requires_grad_()
    return HardBank(wiring, table, bank.slope.to(device, dtype))


def results(evaluate, x, banks, grads, device="cpu", dtype=torch.float64):
    """The outputs, and the gradients of the inputs, of the tables and of what wirings learn by."""
    x = [value.to(device, dtype, copy=True) for value in x]
    x = [kernels.mark_bits(value).requires_grad_() for value in x]
    banks = [on(bank, device, dtype) for bank in banks]
    needed = [*x, *(bank.table for bank in banks if not isinstance(bank, Maximum))]
    needed += [bank.logits for bank in banks if isinstance(bank, LearnedBank)]
    outputs = evaluate(x, banks)
    grads = [grad.to(device, dtype) for grad in grads]
    found = torch.autograd.grad(outputs, needed, grads, allow_unused=True)
    return outputs, found


def one_after_the_other(sources, outputs, groups, tau):
    def evaluate(x, banks):
        values = list(x)
        for bank, numbers in zip(banks, sources, strict=True):
            read = torch.cat([values[number] for number in numbers], 1)
            if isinstance(bank, LearnedBank):
                values.append(kernels.learned_lookup(read, **bank._asdict()))
            elif isinstance(bank, HardBank):
                values.append(kernels.lookup(read, *bank))
            else:
                values.append(kernels.maximum(read, bank.wiring, least=bank.least))
        found = [values[number] for number in outputs]
        return found if groups is None else [*found[:-1], found[-1].unflatten(1, (groups, -1)).sum(2) / tau]

    return evaluate


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 131])
@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("graph", GRAPHS)
def test_is_one_bank_after_the_other(graph, groups, batch, backend):
    inputs, kinds, sources, outputs = GRAPHS[graph]
    if groups and (kinds[-1][0] not in ("table", "few", "all") or outputs[-1] != len(inputs) + len(kinds) - 1):
        pytest.skip("the last bank has no tables, or is not returned")
    x, banks = random_graph(inputs, kinds, batch)
    evaluate = one_after_the_other(sources, outputs, groups, 2.5)
    generator = torch.Generator().manual_seed(3)
    grads = [torch.randn(y.shape, generator=generator).double() for y in evaluate(x, banks)]
    expected, expected_gradients = results(evaluate, x, banks, grads)
    device = "cpu" if backend == "reference" else device_of(backend)
    with kernels.use_backend("reference" if backend == "reference" else "auto"):
        found, gradients = results(
            lambda x, banks: kernels.lookup_graph(x, banks, sources, outputs, groups, 2.5),
            x, banks, grads, device, torch.float32,
        )  # fmt: skip
    for single, double in zip([*found, *gradients], [*expected, *expected_gradients], strict=True):
        # Gradients of a few hundred, sums of up to 131 * 36 terms; None where nothing depends on a table.
        assert (single is None) == (double is None)
        if single is not None:
            torch.testing.assert_close(single.cpu().double(), double, rtol=1e-4, atol=1e-3)
    if groups is None:
        assert all(
            torch.equal(y.cpu().double(), z) and kernels.holds_bits(y) for y, z in zip(found, expected, strict=True)
        )


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_packed_bits_stand_for_an_input(device):
    inputs, kinds, *_ = GRAPHS["pooling"]
    banks = random_graph(inputs, kinds, 1)[1]
    words = torch.randint(-(2**31), 2**31, (len(banks[1].wiring.wiring) * 36, 4), dtype=torch.int32, device=device)
    bits = kernels.Bits(words, 128)
    pool = on(banks[1], device, torch.float32)
    (found,) = kernels.lookup_graph([bits], [pool], [[0]], [1])
    (expected,) = kernels.lookup_graph([bits.float()], [pool], [[0]], [1])
    assert torch.equal(found, expected) and kernels.holds_bits(found)


@pytest.mark.needs("c++")
@pytest.mark.parametrize("needed", [(True, False), (False, True)])
def test_only_what_is_needed_has_a_gradient(needed):
    inputs, kinds, sources, outputs = GRAPHS["two inputs"]
    x, banks = random_graph(inputs, kinds, 20)
    x = [value.float().requires_grad_(needs) for value, needs in zip(x, needed, strict=True)]
    banks = [HardBank(bank.wiring, bank.table.float(), bank.slope.float()) for bank in banks]
    kernels.lookup_graph(x, banks, sources, outputs)[0].sum().backward()
    assert tuple(value.grad is not None and bool(value.grad.any()) for value in x) == needed


@pytest.mark.needs("c++")
@pytest.mark.parametrize("batch", [1, 63, 64, 70])
def test_packed_bits_past_the_batch_are_zero_between_banks(batch):
    inputs, kinds, sources, outputs = GRAPHS["skip and two paths"]
    x, banks = random_graph(inputs, kinds, batch)
    tables = [bank.table.float() if isinstance(bank, HardBank) else None for bank in banks]
    least = [None if isinstance(bank, HardBank) else bank.least for bank in banks]
    choices = [None] * len(banks)
    plan = Plan([bank.wiring for bank in banks], [], least, choices, sources, outputs, None, 1.0)
    _, read = cpp.look_up_graph([value.float() for value in x], plan, tables)
    assert len(read) == len(banks)
    for bits in read:
        assert bits.any() and not (batch % 64 and (bits[:, -1] >> (batch % 64) & (1 << (64 - batch % 64)) - 1).any())


def test_what_does_not_fit_is_an_error():
    inputs, kinds, sources, _ = GRAPHS["pooling between"]
    x, banks = random_graph(inputs, kinds, 5)
    with pytest.raises(ValueError, match="12 outputs cannot be divided into groups=5"):
        kernels.lookup_graph(x, banks, sources, [3], 5)
    with pytest.raises(ValueError, match="need 45 features, got x with 225"):
        kernels.lookup_graph(x, banks, [[0], [1], [1, 2]], [3])
    banks[1].wiring.wiring[2, 1] = 20
    with pytest.raises(ValueError, match=r"wiring reads inputs \d+ to 20"):
        kernels.lookup_graph([value.float() for value in x], [*map(in_single, banks)], sources, [3])


def in_single(bank):
    return HardBank(bank.wiring, bank.table.float(), None) if isinstance(bank, HardBank) else bank
