from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit
from difflut.circuits.engine import cpu, cuda, levels
from difflut.circuits.engine.cuda import CudaEngine, arranged, chunks, comparisons
from difflut.circuits.engine.levels import LevelsEngine
from tests.circuits.networks import inputs, random_circuit

compiled = pytest.mark.needs("c++")


def pixels(samples):
    return np.random.default_rng(samples).integers(5, size=(samples, 4), dtype=np.uint8)


def pictures(features, samples):
    """A circuit that compares most features with three thresholds, some with fewer, and bytes for it."""
    rng = np.random.default_rng(features)
    thresholds = np.sort(rng.integers(0, 255, (features, 3)), axis=1).astype(np.float32)
    wiring = rng.integers(3 * features, size=(900, 3))
    wiring[wiring % 7 == 0] = 0
    tables = rng.random((900, 8)) < 0.5
    circuit = Circuit(
        thresholds,
        codebook=np.tri(4, 3, -1, dtype=bool),
        wiring=wiring,
        tables=tables,
        table_of=np.arange(900),
        layers=np.zeros(900, int),
        outputs=np.arange(900) + 3 * features,
        inverted=np.zeros(900, bool),
        groups=np.arange(900) % 5,
        bias=np.zeros(5, int),
        tau=1.0,
    )
    return circuit, rng.integers(256, size=(samples, features), dtype=np.uint8)


def encoded(circuit, encoding, x, places):
    """The signals of all places after the encoder, from the arrays as they lie in memory."""
    signals, none = np.zeros((places, len(x)), bool), len(encoding[0])
    what = comparisons(circuit, encoding, x.dtype == np.uint8)
    limits, levels = what["limits"].ravel(order="K"), what["levels"]
    if x.dtype == np.uint8:
        quads = limits.view(np.uint16).reshape(levels, what["num_quads"], 2, 4)
        features = 4 * what["quads"][:, None] + np.arange(4)
        compared = [(features, level[:, 0], level[:, 1].view(np.float16)) for level in quads]
    else:
        to = what["places"].view(np.uint16).ravel(order="K").reshape(levels, -1)
        compared = [(np.arange(x.shape[1]), *level) for level in zip(to, limits.reshape(to.shape), strict=True)]
    written = []
    for level in compared:
        for feature, place, limit in zip(*(array.ravel().tolist() for array in level), strict=True):
            if place != none:
                column = x[:, feature]
                signals[place] = column + 1024.0 >= limit if x.dtype == np.uint8 else column > np.float32(limit)
                written.append(place)
    assert sorted(written) == list(range(none))
    return signals


def operations(code, pins):
    """Places read, place written and table of each node of a turn."""
    fields = [(word >> np.uint64(s) & np.uint64(0xFFFF)).astype(int) for word in code for s in (0, 16, 32, 48)]
    if pins == 2:
        a, b, result, kind = fields
        ands = 1 << (3 - (kind >> 7 & 1) - 2 * (kind >> 15))
        return [a, b], result, np.where(kind >> 14 & 1, 6, ands).astype(np.uint64)
    result = fields[6 if pins == 6 else 5]
    return fields[:pins], result, code[2] if pins == 6 else code[1] >> np.uint64(32)


def steps(found, threads):
    """Code and pins of the nodes between two barriers."""
    code, step = found["code"].view(np.uint64), []
    for chunk in found["chunks"].view(np.uint64)[:-1].tolist():
        begin, lanes, pins, rows = chunk & 0xFFFFFFFF, chunk >> 32 & 0xFFFF, chunk >> 48 & 0xFF, chunk >> 56 & 0x7F
        words = 1 if pins == 2 else 2 if pins < 6 else 3
        assert lanes <= threads and rows <= 6 and (pins == 2 or rows == words)
        step += [(part, pins) for part in code[begin : begin + rows * lanes].reshape(-1, words, lanes)]
        if chunk >> 63:
            yield step
            step = []
    assert not step


def counts_of_chunks(circuit, x, threads, turns, banks, by_part=False):
    """What the kernel computes, in numpy: reads and writes of a step in any order would give the same."""
    net, encoding = arranged(circuit)
    found = chunks(net, circuit.num_classes, threads, turns, banks, by_part)
    signals = encoded(circuit, encoding, x, found["num_places"])
    for step in steps(found, threads):
        written = {}
        for code, pins in step:
            read, results, tables = operations(code, pins)
            address = sum(signals[places].astype(np.uint64) << np.uint64(pin) for pin, places in enumerate(read))
            outputs = (tables[:, None] >> address & np.uint64(1)).astype(bool)
            real = results != len(encoding[0])
            assert not written.keys() & set(results[real])
            written |= dict(zip(results[real].tolist(), outputs[real], strict=True))
        for place, values in written.items():
            signals[place] = values
    counts = np.tile(found["bias"].astype(int), (len(x), 1))
    for number in range(circuit.num_classes):
        votes = found["votes"][found["start"][number] : found["start"][number + 1], None]
        counts[:, number] += np.where(votes < 0, ~signals[~votes[:, 0]], signals[votes[:, 0]]).sum(0)
    return counts - net.offset


@compiled
@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
@pytest.mark.parametrize(("threads", "turns", "banks"), [(32, 1, 32), (64, 6, 16), (384, 2, 8)])
def test_chunks_are_the_circuit(n, threads, turns, banks):
    for seed in range(2):
        circuit = random_circuit(seed, n=n, width=400)
        signals = np.random.default_rng(seed).integers(circuit.num_signals, size=300)
        zeros, groups = signals % 3 == 0, signals % 3
        circuit = replace(circuit, outputs=signals, inverted=zeros, groups=groups)  # many, so that many LUTs count
        for x in (inputs(circuit, 200), pixels(100)):
            np.testing.assert_array_equal(counts_of_chunks(circuit, x, threads, turns, banks), circuit.counts(x))


@compiled
@pytest.mark.parametrize("features", [517, 520])
def test_pictures_of_several_levels(features):
    circuit, x = pictures(features, 40)
    for given in (x, x.astype(np.float32)):
        np.testing.assert_array_equal(counts_of_chunks(circuit, given, 384, 2, 8), circuit.counts(x))


@compiled
def test_neighbouring_gates_read_and_write_different_banks():
    circuit = random_circuit(1, n=2, width=4000)
    every = np.arange(circuit.num_signals)
    circuit = replace(circuit, outputs=every, inverted=every < 0, groups=every % 3)
    net, _ = arranged(circuit)
    found = chunks(net, circuit.num_classes, 384, 2, 8)
    conflicts = [
        np.bincount(np.unique(eight) % 8).max()
        for step in steps(found, 384)
        for code, pins in step
        for places in (*operations(code, pins)[0], operations(code, pins)[1])
        for eight in places.reshape(-1, 8)
    ]
    assert np.mean(conflicts) < 1.3


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
@pytest.mark.parametrize("features", [517, 520])
@pytest.mark.parametrize("words", [None, 1, 2])
def test_pictures_in_many_tiles_on_the_gpu(features, words):
    circuit, x = pictures(features, 100_003)  # more tiles than there are blocks
    engine = CudaEngine(circuit, words)
    for given in (x, x.astype(np.float32)):
        np.testing.assert_array_equal(engine.classes(given), circuit.classes(x))


@pytest.mark.cuda
def test_tensors_give_tensors():
    circuit = random_circuit(0)
    x = torch.from_numpy(inputs(circuit, 200)).cuda()
    found = circuit.engine("cuda").classes(x)
    assert found.is_cuda
    np.testing.assert_array_equal(found.cpu().numpy(), circuit.classes(x.cpu().numpy()))


@pytest.mark.parametrize(("module", "engine"), [(cuda, CudaEngine), (levels, LevelsEngine)])
def test_kernels_that_cannot_be_compiled_are_said_so(module, engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "library", lambda: None)
    with pytest.raises(RuntimeError, match="could not be compiled, stderr says why"):
        engine(random_circuit(0))
    monkeypatch.setattr(cpu, "available", lambda: False)
    monkeypatch.setattr(module, "library", lambda: pytest.fail("there is no use in compiling"))
    with pytest.raises(RuntimeError, match="could not be compiled, stderr says why"):
        engine(random_circuit(0))
