import pytest
import torch

from difflut import kernels
from difflut.kernels import HardBank, PlacedWiring, Placements, cuda
from difflut.kernels.facts import known
from tests.kernels.operations import looked_up

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
SHAPES = {  # inputs, then (nodes, n, m) of each bank
    "one bank": (37, [(12, 6, 1)]),
    "two banks": (37, [(50, 6, 1), (30, 6, 1)]),
    "three banks": (37, [(50, 4, 2), (40, 4, 1), (15, 4, 2)]),
    "different n": (37, [(50, 5, 1), (40, 2, 1), (30, 3, 1)]),
    "many inputs": (37, [(50, 8, 1), (40, 7, 2), (30, 1, 1)]),
}
PLACES = {  # placements, nodes, n and m of each bank
    "convolution, pool and dense": [
        (Placements(2, 7, 6, (3, 3), padding=(1, 1)), 5, 6, 1),
        (Placements(5, 7, 6, (2, 2), stride=(2, 2)), 5, 4, 1),
        (Placements(45), 12, 6, 1),
    ],
    "convolutions": [
        (Placements(3, 5, 5, (2, 2), padding=(1, 1)), 4, 5, 2),
        (Placements(8, 6, 6, (3, 2), stride=(1, 2), padding=(0, 1)), 3, 7, 1),
    ],
}


def random_stack(features, sizes, batch=300):
    generator = torch.Generator().manual_seed(0)
    x, banks = (torch.rand(batch, features, generator=generator) > 0.5).double(), []
    for nodes, n, m in sizes:
        banks.append(
            HardBank(
                torch.randint(0, features, (nodes, n), generator=generator),
                torch.rand(nodes, m, 2**n, generator=generator).double(),
                torch.randn(nodes, m, 2**n, generator=generator).double(),
            )
        )
        features = nodes * m
    return x, banks


def random_placed_stack(sizes, batch=131):
    generator = torch.Generator().manual_seed(1)
    x, banks = (torch.rand(batch, sizes[0][0].features, generator=generator) > 0.5).double(), []
    for placements, nodes, n, m in sizes:
        wiring = torch.randint(placements.window, (nodes, n), generator=generator)
        tables = (draw(nodes, m, 2**n, generator=generator).double() for draw in (torch.rand, torch.randn))
        banks.append(HardBank(PlacedWiring(wiring, placements), *tables))
    return x, banks


def on(wiring, device):
    placed = isinstance(wiring, PlacedWiring)
    return PlacedWiring(wiring.wiring.to(device), wiring.placements) if placed else wiring.to(device)


def results(stack, x, banks, grad, device="cpu", dtype=torch.float64):
    """The output of stack(x, banks), and its gradients for x and every table."""
    x = x.to(device, dtype).requires_grad_()
    tables = [bank.table.to(device, dtype).requires_grad_() for bank in banks]
    banks = [
        HardBank(on(bank.wiring, device), table, bank.slope.to(device, dtype))
        for bank, table in zip(banks, tables, strict=True)
    ]
    y = stack(x, banks)
    return y.detach(), *torch.autograd.grad(y, [x, *tables], grad.to(device, dtype))


def one_after_the_other(x, banks, groups=None, tau=1.0):
    for bank in banks:
        x = kernels.lookup(x, *bank)
    return x if groups is None else x.unflatten(1, (groups, -1)).sum(-1) / tau


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_is_one_lookup_after_the_other(shape, groups, device):
    x, banks = random_stack(*SHAPES[shape])
    grad = torch.randn(len(x), groups or banks[-1].table.shape[0] * banks[-1].table.shape[1]).double()
    expected = results(lambda x, banks: one_after_the_other(x, banks, groups, 2.5), x, banks, grad)
    found = results(lambda x, banks: looked_up(x, banks, groups, 2.5), x, banks, grad, device, torch.float32)
    for single, double in zip(found, expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-4, atol=2e-4)  # sums of up to 300 terms


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize("shape", PLACES)
def test_placed_banks_are_one_lookup_after_the_other(shape, groups, device):
    x, banks = random_placed_stack(PLACES[shape])
    outputs = len(banks[-1].table) * banks[-1].table.shape[1] * PLACES[shape][-1][0].count
    grad = torch.randn(len(x), groups or outputs, generator=torch.Generator().manual_seed(2)).double()
    expected = results(lambda x, banks: one_after_the_other(x, banks, groups, 2.5), x, banks, grad)
    found = results(lambda x, banks: looked_up(x, banks, groups, 2.5), x, banks, grad, device, torch.float32)
    for single, double in zip(found, expected, strict=True):
        # Gradients of a few hundred, sums of up to 131 * 42 terms.
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-4, atol=1e-3)


def test_does_not_depend_on_the_number_of_threads():
    x, banks = random_placed_stack(PLACES["convolution, pool and dense"], batch=600)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        grad = torch.arange(1800.0).view(600, 3).sin()
        found.append(results(lambda x, banks: looked_up(x, banks, 3), x, banks, grad, dtype=torch.float32))
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_unknown_inputs_of_any_bank_are_an_error(position):
    x, banks = random_stack(*SHAPES["three banks"])
    banks = [HardBank(bank.wiring, bank.table.float(), None) for bank in banks]
    banks[position].wiring[3, 1] = 100
    with pytest.raises(ValueError, match="wiring reads inputs 0 to 100"):
        looked_up(x.float(), banks, 3)


@pytest.mark.parametrize("device", DEVICES)
def test_without_slopes_only_the_last_tables_learn(device):
    x, banks = random_stack(*SHAPES["two banks"])
    tables = [bank.table.to(device, torch.float32).requires_grad_() for bank in banks]
    banks = [HardBank(bank.wiring.to(device), table, None) for bank, table in zip(banks, tables, strict=True)]
    looked_up(x.to(device, torch.float32), banks, 3).sum().backward()
    assert tables[0].grad is None or not tables[0].grad.any()
    assert tables[1].grad.sum() == len(x) * 30


def test_groups_that_do_not_divide_the_outputs_are_an_error():
    x, banks = random_stack(*SHAPES["one bank"])
    with pytest.raises(ValueError, match="12 outputs cannot be divided into groups=5"):
        looked_up(x, banks, 5)


@pytest.mark.cuda
@pytest.mark.parametrize("batch", [1, 40, 128, 300])
def test_packed_bits_stand_for_the_tensor(batch):
    x, banks = random_stack(*SHAPES["two banks"], batch=batch)
    x = x.float().cuda()
    banks = [HardBank(*(tensor.cuda() for tensor in bank)) for bank in banks]
    banks = [HardBank(bank.wiring, bank.table.float(), bank.slope.float()) for bank in banks]
    bits = kernels.Bits(cuda.pack(x), batch)
    assert bits.shape == x.shape and torch.equal(bits.float(), x)
    assert torch.equal(looked_up(bits, banks), looked_up(x, banks))
    assert torch.equal(kernels.lookup(bits, *banks[0]), kernels.lookup(x, *banks[0]))
    table = banks[0].table.requires_grad_()
    results = []
    for inputs in (bits, x):
        y = kernels.multilinear(inputs, banks[0].wiring, table)
        results += [y, *torch.autograd.grad(y.square().sum(), table)]
    torch.testing.assert_close(results[:2], results[2:])


@pytest.mark.cuda
@pytest.mark.parametrize("batch", [1, 300])
def test_what_is_known_as_bits_stays_packed_for_the_next_bank(batch):
    x, banks = random_stack(*SHAPES["one bank"], batch=batch)
    wiring, table, slope = (tensor.cuda() for tensor in banks[0])
    y = looked_up(x.float().cuda(), [HardBank(wiring, kernels.mark_bits(table.round().float()), slope.float())])
    assert kernels.holds_bits(y)
    assert torch.equal(known(y, "words"), cuda.pack(y.clone()))


@pytest.mark.cuda
def test_without_gradients_the_addresses_of_all_banks_are_not_held_at_once():
    nodes = batch = 4096
    bank = HardBank(torch.randint(nodes, (nodes, 4)).cuda(), torch.rand(nodes, 1, 16).cuda(), None)
    x = torch.rand(batch, nodes).round().cuda()
    looked_up(x, [bank] * 2, 4)  # what is prepared once
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    looked_up(x, [bank] * 8, 4)
    assert torch.cuda.max_memory_allocated() - before < 3 * nodes * batch  # a byte for each address
