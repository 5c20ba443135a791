import pytest
import torch

from difflut import kernels
from difflut.kernels import HardBank, PlacedWiring, Placements
from tests.kernels.operations import OPERATIONS, assert_as_in_double, evaluated, looked_up
from tests.kernels.test_placements import CASES, IDS

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n,m,batch", [(1, 2, 3), (2, 1, 128), (3, 1, 131), (6, 1, 260), (8, 2, 33)])
@pytest.mark.parametrize("placements", CASES, ids=IDS)
def test_agrees_with_the_reference_in_double_precision(make_placed_bank, gradients, placements, n, m, batch, operation):
    bank = make_placed_bank(placements, n, m, batch)
    bank.wiring = PlacedWiring(bank.wiring, placements)
    assert_as_in_double(bank, gradients, operation, "cuda")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_few_tables_at_many_placements(make_placed_bank, gradients, operation):
    placements = Placements(3, 30, 34, (3, 3), padding=(1, 1))
    bank = make_placed_bank(placements, 6, 1, 40)
    bank.wiring = PlacedWiring(bank.wiring, placements)
    first, again = (evaluated(bank, gradients, operation, "cuda") for _ in range(2))
    assert all(map(torch.equal, first, again))
    for single, double in zip(first, evaluated(bank, gradients, operation, dtype=torch.float64), strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=2e-3)  # sums of 40,000 terms


def learned(case, placements, fused, device="cpu", dtype=torch.float64):
    """The look-up of what pins choose, and the gradients of x, logits and table."""
    x, logits, candidates, table, slope, grad = (
        tensor if tensor is None or tensor.dtype == torch.int64 else tensor.to(dtype) for tensor in case
    )
    x, logits, table, slope, grad = (tensor.to(device) for tensor in (x, logits, table, slope, grad))
    candidates = None if candidates is None else candidates.to(device)
    x, logits, table = (tensor.requires_grad_() for tensor in (x, logits, table))
    if fused == "bits":
        kernels.mark_bits(x)
    if fused:
        y = kernels.learned_lookup(x, logits, table, slope, candidates, placements, tau=0.1)
    else:
        pins = kernels.select(x, logits, candidates, placements, tau=0.1)
        where = Placements(len(table) * 3, placements.out_height, placements.out_width)
        y = kernels.lookup(
            pins, PlacedWiring(torch.arange(len(table) * 3, device=device).view(-1, 3), where), table, slope
        )
    return y.detach(), *torch.autograd.grad(y, (x, logits, table), grad)


@pytest.mark.parametrize("fused", ["bits", "values", None])
@pytest.mark.parametrize("batch", [5, 128, 132, 257])
@pytest.mark.parametrize("choices", [None, 4, 29])
@pytest.mark.parametrize("placements", CASES, ids=IDS)
def test_learned_wirings_agree_with_the_reference_in_double_precision(placements, choices, batch, fused):
    generator = torch.Generator().manual_seed(batch)
    nodes, pins = 11, 33
    x = (torch.rand(batch, placements.features, generator=generator) > 0.5).float()
    shape = (placements.window, pins) if choices is None else (pins, choices)
    candidates = None if choices is None else torch.randint(placements.window, shape, generator=generator)
    case = (
        x,
        torch.rand(shape, generator=generator),
        candidates,
        torch.rand(nodes, 2, 8, generator=generator),
        torch.randn(nodes, 2, 8, generator=generator),
        torch.randn(batch, nodes * 2 * placements.count, generator=generator),
    )
    expected = learned(case, placements, fused)
    found, again = (learned(case, placements, fused, "cuda", torch.float32) for _ in range(2))
    assert all(map(torch.equal, found, again))
    assert torch.equal(found[0].cpu().double(), expected[0])
    for single, double in zip(found[1:], expected[1:], strict=True):
        error = (single.cpu().double() - double).norm() / double.norm()
        assert error < 2e-5  # 16 bits of precision in that of the logits


@pytest.mark.parametrize("groups", [None, 5])
@pytest.mark.parametrize("batch", [3, 130])
@pytest.mark.parametrize("flat", [True, False])
def test_a_stack_of_convolution_pooling_and_dense_layers_is_one_lookup_after_the_other(flat, batch, groups):
    generator = torch.Generator().manual_seed(batch)
    stages = [  # nodes, n, m, placements
        (6, 5, 2, Placements(3, 8, 9, (3, 3), padding=(1, 1))),
        (12, 4, 1, Placements(12, 8, 9, (2, 3), stride=(2, 3))),
        (15, 3, 1, Placements(12, 4, 3, (2, 2))),
    ]
    stages += [(40, 3, 1, Placements(15 * 6)), (30, 3, 1, Placements(40))] if flat else []
    x = torch.rand(batch, stages[0][3].features, generator=generator).round()
    banks = [
        (
            torch.randint(placements.window, (nodes, n), generator=generator),
            torch.rand(nodes, m, 2**n, generator=generator),
            torch.randn(nodes, m, 2**n, generator=generator),
            placements,
        )
        for nodes, n, m, placements in stages
    ]
    outputs = stages[-1][0] * stages[-1][2] * stages[-1][3].count
    grad = torch.randn(batch, groups or outputs, generator=generator)

    def results(device, dtype, fused):
        inputs = x.to(device, dtype).requires_grad_()
        tables = [bank[1].to(device, dtype).requires_grad_(i != 1) for i, bank in enumerate(banks)]
        given = [
            HardBank(PlacedWiring(wiring.to(device), placements), table, slope.to(device, dtype))
            for (wiring, _, slope, placements), table in zip(banks, tables, strict=True)
        ]
        if fused:
            y = looked_up(inputs, given, groups, 2.5)
        else:
            y = inputs
            for bank in given:
                y = kernels.lookup(y, *bank)
            y = y if groups is None else y.unflatten(1, (groups, -1)).sum(-1) / 2.5
        learned = [table for table in tables if table.requires_grad]
        return y.detach(), *torch.autograd.grad(y, [inputs, *learned], grad.to(device, dtype))

    expected = results("cpu", torch.float64, False)
    for single, double in zip(results("cuda", torch.float32, True), expected, strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-4, atol=1e-3)  # sums of up to 10,000 terms


@pytest.mark.parametrize("operation", [*OPERATIONS, "learned"])
def test_a_graph_replays_the_operation(make_placed_bank, gradients, operation):
    placements = CASES[1]
    bank = make_placed_bank(placements, 3, 1, 200, binary=True)
    x, table, slope, grad = (tensor.cuda() for tensor in (bank.x, bank.table, bank.slope, bank.grad))
    if operation == "learned":
        candidates = torch.randint(placements.window, (21, 9)).cuda()
        logits = torch.rand(21, 9).cuda().requires_grad_()

        def run(x, table):
            return kernels.learned_lookup(kernels.mark_bits(x), logits, table, slope, candidates, placements, tau=0.1)
    else:
        run = OPERATIONS[operation](PlacedWiring(bank.wiring.cuda(), placements), slope)
    expected = gradients(run, x, table, grad)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        gradients(run, x, table, grad)
    graph, kept = torch.cuda.CUDAGraph(), x.clone()
    with torch.cuda.graph(graph, stream=stream):
        found = gradients(run, x, table, grad)
    x.fill_(0.3)
    graph.replay()
    x.copy_(kept)
    graph.replay()
    assert all(map(torch.equal, found, expected))
