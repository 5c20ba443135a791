from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits.engine import cpu
from difflut.circuits.engine.cuda import CudaEngine, chunks, comparisons
from difflut.circuits.engine.netlist import netlist
from tests.circuits.networks import inputs, random_circuit

compiled = pytest.mark.skipif(not cpu.available(), reason="no C++ compiler")


def pixels(samples):
    return np.random.default_rng(samples).integers(5, size=(samples, 4), dtype=np.uint8)


def encoded(circuit, net, x, places):
    """The signals of all places after the encoder."""
    signals = np.zeros((places, len(x)), bool)
    what = comparisons(circuit, net, x.dtype == np.uint8)
    to = what["places"].view(np.uint16)
    for level, feature in np.argwhere(to != 0xFFFF).tolist():
        limit, column = what["limits"][level, feature], x[:, feature]
        holds = column >= limit if x.dtype == np.uint8 else column > limit
        signals[to[level, feature]] = holds & (what["possible"][level, feature] > 0)
    return signals


def operations(code, wide):
    """Places read, place written and table of each node of a chunk."""
    code = code.view(np.uint64)
    if not wide:
        return [(code >> s & 0x3FFF).astype(int) for s in (0, 14)], (code >> 28 & 0x3FFF).astype(int), code >> 42
    table, low, high = code.reshape(-1, 3).T
    pins = [
        (word >> s & 0xFFFF).astype(int) for word, shifts in ((low, (0, 16, 32, 48)), (high, (0, 16))) for s in shifts
    ]
    return pins, (high >> 32).astype(int), table


def counts_of_chunks(circuit, x, chunk):
    """What the kernel computes, in numpy: reads and writes of a chunk in any order would give the same."""
    net = netlist(circuit)
    found = chunks(net, circuit.num_classes, chunk)
    signals = encoded(circuit, net, x, found["num_places"])
    for begin, count, wide in found["chunks"].tolist():
        code = found["wide"][3 * begin : 3 * (begin + count)] if wide else found["gates"][begin : begin + count]
        pins, results, tables = operations(code, wide)
        used = np.bincount(results)
        assert (used[np.setdiff1d(results, [results[-1]])] == 1).all()
        address = sum(signals[places].astype(np.uint64) << np.uint64(pin) for pin, places in enumerate(pins))
        signals[results] = (tables[:, None] >> address & np.uint64(1)).astype(bool)
    counts = np.tile(found["bias"].astype(int), (len(x), 1))
    for number in range(circuit.num_classes):
        votes = found["votes"][found["start"][number] : found["start"][number + 1], None]
        counts[:, number] += np.where(votes < 0, ~signals[~votes[:, 0]], signals[votes[:, 0]]).sum(0)
    return counts - net.offset


@compiled
@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("chunk", [32, 2048])
def test_chunks_are_the_circuit(n, chunk):
    for seed in range(2):
        circuit = random_circuit(seed, n=n, width=400)
        signals = np.random.default_rng(seed).integers(circuit.num_signals, size=300)
        zeros, groups = signals % 3 == 0, signals % 3
        circuit = replace(circuit, outputs=signals, inverted=zeros, groups=groups)  # many, so that many LUTs count
        for x in (inputs(circuit, 200), pixels(100)):
            np.testing.assert_array_equal(counts_of_chunks(circuit, x, chunk), circuit.counts(x))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(RuntimeError, match="needs an NVIDIA GPU"):
        random_circuit(0).engine("cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("words", [None, 1, 2])
def test_random_circuits_on_the_gpu(n, words):
    for seed in range(3):
        circuit = random_circuit(seed, n=n)
        engine = CudaEngine(circuit, words)
        for samples in (1, 63, 513, 1300):
            for x in (inputs(circuit, 1300)[:samples], pixels(samples)):
                np.testing.assert_array_equal(engine.counts(x), circuit.counts(x))
                np.testing.assert_array_equal(engine.classes(x), circuit.classes(x))
                np.testing.assert_array_equal(engine.logits(x), circuit(x))


@pytest.mark.cuda
def test_tensors_give_tensors():
    circuit = random_circuit(0)
    x = torch.from_numpy(inputs(circuit, 200)).cuda()
    found = circuit.engine("cuda").classes(x)
    assert found.is_cuda
    np.testing.assert_array_equal(found.cpu().numpy(), circuit.classes(x.cpu().numpy()))
