import shutil
import subprocess

import pytest
import torch

from difflut import kernels
from difflut.kernels import cuda
from difflut.kernels.sources import source_dir

LAYOUTS = {
    "rows": torch.Tensor.contiguous,
    "features first": lambda x: x.t().contiguous().t(),
    "strided": lambda x: torch.stack((x, x.neg()), 2).flatten(1)[:, ::2],
}


def waves(table):
    return table / 16, table.flip(2) / 8 - 1 / 16  # so small that the sums of 2**n are about 1


OPERATIONS = {
    "lookup": lambda wiring, slope: lambda x, table: kernels.lookup(x, wiring, table, slope.to(table.dtype)),
    "multilinear": lambda wiring, slope: lambda x, table: kernels.multilinear(x, wiring, table),
    "hybrid": lambda wiring, slope: lambda x, table: kernels.multilinear(x, wiring, table, hard=True),
    "fourier": lambda wiring, slope: lambda x, table: kernels.fourier(x, wiring, *waves(table)),
}
SMOOTH = {"multilinear", "fourier"}


def on_gpu(bank, gradients, operation, arrange=torch.Tensor.contiguous):
    build = OPERATIONS[operation](bank.wiring.cuda(), bank.slope.cuda())
    return gradients(build, arrange(bank.x.cuda()), bank.table.cuda(), arrange(bank.grad.cuda()))


def assert_as_in_double(bank, gradients, operation, arrange=torch.Tensor.contiguous):
    assert kernels.backend_for(bank.table.cuda()).name == "cuda"
    found = on_gpu(bank, gradients, operation, arrange)
    build = OPERATIONS[operation](bank.wiring, bank.slope)
    expected = gradients(build, bank.x.double(), bank.table.double(), bank.grad)
    for single, double in zip(found, expected, strict=True):
        # Sums of up to a few hundred terms around 1 in single precision.
        torch.testing.assert_close(single.cpu().double(), double, rtol=1e-5, atol=3e-5)
    if operation not in SMOOTH:
        assert torch.equal(found[0].cpu().double(), expected[0])


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
@pytest.mark.parametrize("file", cuda.FILES)
def test_sources_compile_without_a_gpu(tmp_path, file):
    target = ["-gencode", "arch=compute_90,code=sm_90"]
    subprocess.run(["nvcc", *target, "-c", source_dir() / file, "-o", tmp_path / "object.o"], check=True)


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch", [1, 3, 33, 128, 131])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("n", range(1, 9))
def test_agrees_with_the_reference_in_double_precision(make_bank, gradients, operation, n, m, batch):
    assert_as_in_double(make_bank(n, m, batch), gradients, operation)


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n,batch", [(2, 1032), (3, 1031), (6, 1031)])
def test_takes_any_strides(make_bank, gradients, operation, n, batch, layout):
    bank = make_bank(n, 2, batch=batch, nodes=211, features=97)
    assert_as_in_double(bank, gradients, operation, LAYOUTS[layout])


@pytest.mark.cuda
@pytest.mark.parametrize("n", range(1, 9))
def test_binary_inputs_give_the_entries_of_the_table_exactly(make_bank, gradients, n):
    bank = make_bank(n, 2, batch=67, binary=True)
    assert_as_in_double(bank, gradients, "multilinear")
    x, wiring, table = bank.x.cuda(), bank.wiring.cuda(), bank.table.cuda()
    torch.testing.assert_close(
        kernels.multilinear(x, wiring, table), kernels.lookup(x, wiring, table), rtol=0, atol=1e-6
    )


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("n", [2, 6])
def test_every_run_gives_the_same_bits(make_bank, gradients, operation, n):
    bank = make_bank(n, 1, batch=5000, nodes=300, features=150)
    first, again = (on_gpu(bank, gradients, operation) for _ in range(2))
    assert all(map(torch.equal, first, again))


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("batch,nodes", [(0, 5), (5, 0)])
def test_takes_empty_banks_and_batches(make_bank, gradients, operation, batch, nodes):
    bank = make_bank(3, 2, batch=4, nodes=6)
    bank.x = bank.x[:1].expand(batch, -1)
    bank.wiring, bank.table, bank.slope = bank.wiring[:nodes], bank.table[:nodes], bank.slope[:nodes]
    bank.grad = torch.ones(batch, 2 * nodes)
    y, x_grad, table_grad = on_gpu(bank, gradients, operation)
    assert y.shape == (batch, 2 * nodes) and x_grad.shape == bank.x.shape and table_grad.shape == bank.table.shape
    assert not x_grad.any() and not table_grad.any()


@pytest.mark.cuda
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_graph_replays_the_operation(make_bank, gradients, operation):
    bank = make_bank(6, 1, batch=200)
    wiring, slope = bank.wiring.cuda(), bank.slope.cuda()
    x, table, grad = bank.x.cuda(), bank.table.cuda(), bank.grad.cuda()
    build = OPERATIONS[operation](wiring, slope)
    expected = gradients(build, x, table, grad)
    stream = torch.cuda.Stream()
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
