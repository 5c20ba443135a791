import subprocess

import pytest
import torch

from difflut import kernels
from difflut.kernels.cuda.launching import FILES
from difflut.kernels.sources import source_dir
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


@pytest.mark.needs("nvcc")
@pytest.mark.parametrize("file", FILES)
def test_sources_compile_without_a_gpu(tmp_path, file):
    target = ["-gencode", "arch=compute_90,code=sm_90"]
    subprocess.run(["nvcc", *target, "-c", source_dir() / file, "-o", tmp_path / "object.o"], check=True)


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch", [1, 3, 33, 128, 131])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", range(1, 9))
def test_agrees_with_the_reference_in_double_precision(make_bank, gradients, operation, n, m, batch):
    assert_as_in_double(make_bank(n, m, batch), gradients, operation, "cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n,batch", [(2, 1032), (3, 1031), (6, 1031)])
def test_takes_any_strides(make_bank, gradients, operation, n, batch, layout):
    bank = make_bank(n, 2, batch=batch, nodes=211, features=97)
    assert_as_in_double(bank, gradients, operation, "cuda", layout)


@pytest.mark.cuda
@pytest.mark.parametrize("n", range(1, 9))
def test_binary_inputs_give_the_entries_of_the_table_exactly(make_bank, gradients, n):
    bank = make_bank(n, 2, batch=67, binary=True)
    assert_as_in_double(bank, gradients, "multilinear", "cuda")
    x, wiring, table = bank.x.cuda(), bank.wiring.cuda(), bank.table.cuda()
    torch.testing.assert_close(
        kernels.multilinear(x, wiring, table), kernels.lookup(x, wiring, table), rtol=0, atol=1e-6
    )


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n", [2, 6])
def test_every_run_gives_the_same_bits(make_bank, gradients, operation, n):
    bank = make_bank(n, 1, batch=5000, nodes=300, features=150)
    first, again = (evaluated(bank, gradients, operation, "cuda") for _ in range(2))
    assert all(map(torch.equal, first, again))


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch,nodes", [(0, 5), (5, 0)])
def test_takes_empty_banks_and_batches(make_bank, gradients, operation, batch, nodes):
    assert_empty_ones_work(make_bank(3, 2, batch=4, nodes=6), gradients, operation, "cuda", batch, nodes)


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_graph_replays_the_operation(make_bank, gradients, operation):
    bank = make_bank(6, 1, batch=200)
    wiring, slope = bank.wiring.cuda(), bank.slope.cuda()
    x, table, grad = bank.x.cuda(), bank.table.cuda(), bank.grad.cuda()
    build = OPERATIONS[operation](wiring, slope)
    expected = gradients(build, x, table, grad)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        gradients(build, x, table, grad)
    graph = torch.cuda.CUDAGraph()
    kept = x.clone()
    with torch.cuda.graph(graph, stream=stream):
        found = gradients(build, x, table, grad)
    x.zero_()
    graph.replay()
    x.copy_(kept)
    graph.replay()
    assert all(map(torch.equal, found, expected))


@pytest.mark.cuda
def test_a_changed_wiring_is_seen(make_bank):
    bank = make_bank(4, 1, batch=40)
    x, wiring, table = bank.x.cuda(), bank.wiring.cuda(), bank.table.cuda()
    kernels.lookup(x, wiring, table)
    wiring.copy_(wiring.flip(0))
    expected = kernels.lookup(bank.x, bank.wiring.flip(0), bank.table)
    assert torch.equal(kernels.lookup(x, wiring, table).cpu(), expected)


@pytest.mark.cuda
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 3, 67, 128, 131, 1031])
@pytest.mark.parametrize("binary", [True, False], ids=["bits", "real"])
@pytest.mark.parametrize("form", ["dense", "candidates"])
def test_select_agrees_with_the_reference_in_double_precision(form, binary, batch, layout):
    case = selection(form, binary, batch)
    found, expected = selected(case, 0.3, arrange=LAYOUTS[layout], device="cuda"), selected(case, 0.3, torch.float64)
    assert torch.equal(found[0].cpu().double(), expected[0])
    for single, double in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=1e-4)  # sums of up to 1031 terms


@pytest.mark.cuda
@pytest.mark.parametrize("choices", [1, 2, 31, 32, 33, 70])
def test_select_takes_any_number_of_candidates(choices):
    x, _, candidates, grad = selection("candidates", True, 300, choices=choices)
    case = x, torch.rand(candidates.shape), candidates, grad
    found, again = (selected(case, 0.1, device="cuda") for _ in range(2))
    assert all(map(torch.equal, found, again))
    for single, double in zip(found, selected(case, 0.1, torch.float64), strict=True):
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("form", ["dense", "candidates"])
@pytest.mark.parametrize("batch,pins", [(0, 5), (5, 0)])
def test_select_takes_empty_batches_and_no_pins(form, batch, pins):
    assert_empty_selections_work(form, batch, pins, "cuda")
