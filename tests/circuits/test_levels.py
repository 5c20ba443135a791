from dataclasses import replace

import numpy as np
import pytest

from difflut.circuits import Circuit
from difflut.circuits.engine.levels import LevelsEngine, levels, sorted_comparisons
from tests.circuits.convolutions import convolution
from tests.circuits.networks import inputs, random_circuit


def random(n, seed=0):
    """Many LUTs that count, some of them their zeros."""
    circuit = random_circuit(seed, n=n, width=400)
    outputs = np.random.default_rng(seed).integers(circuit.num_signals, size=300)
    return replace(circuit, outputs=outputs, inverted=outputs % 3 == 0, groups=outputs % 3)


def counts_of_levels(circuit, x):
    """What the kernels compute, in numpy."""
    comparisons, net = sorted_comparisons(circuit)
    found = levels(net, circuit.num_classes)
    signals = np.empty((len(comparisons) + len(found["tables"]), len(x)), bool)
    signals[: len(comparisons)] = (x[:, comparisons[:, 0]] > circuit.thresholds[tuple(comparisons.T)]).T
    tables, pins = found["tables"].view(np.uint64), found["pins"]
    for begin, count, arity in found["groups"].tolist():
        read, pins = np.split(pins, [arity * count])
        rows = read.reshape(arity, count)
        assert rows.max() < len(comparisons) + begin
        address = sum(signals[row].astype(np.uint64) << np.uint64(pin) for pin, row in enumerate(rows))
        made = slice(begin, begin + count)
        signals[len(comparisons) :][made] = tables[made, None] >> address & np.uint64(1)
    assert not len(pins)
    counts = np.tile(found["bias"].astype(int), (len(x), 1))
    for number in range(circuit.num_classes):
        votes = found["votes"][found["start"][number] : found["start"][number + 1], None]
        counts[:, number] += np.where(votes < 0, ~signals[~votes[:, 0]], signals[votes[:, 0]]).sum(0)
    return counts - net.offset


@pytest.mark.needs("c++")
@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
def test_levels_are_the_circuit(n):
    circuit = random(n)
    x = inputs(circuit, 200)
    np.testing.assert_array_equal(counts_of_levels(circuit, x), circuit.counts(x))


@pytest.mark.needs("c++")
def test_levels_of_a_convolution_read_neighbours():
    model, images = convolution("pooled", n=4)
    circuit, x = Circuit.from_model(model), images.numpy().reshape(200, -1)
    np.testing.assert_array_equal(counts_of_levels(circuit, x), circuit.counts(x))


@pytest.mark.cuda
@pytest.mark.parametrize("n", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("tiles", [None, 1, 3])
def test_levels_on_the_gpu(n, tiles):
    circuit = random(n, seed=n)
    engine = LevelsEngine(circuit, tiles)
    for samples in (1, 127, 513, 1300):
        for x in (inputs(circuit, 1300)[:samples], np.arange(4 * samples, dtype=np.uint8).reshape(-1, 4) % 7):
            np.testing.assert_array_equal(engine.counts(x), circuit.counts(x))
            np.testing.assert_array_equal(engine.classes(x), circuit.classes(x))
            np.testing.assert_array_equal(engine.logits(x), circuit(x))


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["plain", "pooled", "skips"])
def test_convolutions_level_by_level_on_the_gpu(kind):
    model, images = convolution(kind, n=6)
    circuit, x = Circuit.from_model(model), images.numpy()
    np.testing.assert_array_equal(LevelsEngine(circuit).counts(x), circuit.counts(x))


@pytest.mark.cuda
def test_a_circuit_that_shared_memory_is_too_small_for_runs_level_by_level():
    circuit = random_circuit(0, n=3, width=30_000)
    engine = circuit.engine("cuda")
    assert "level by level" in engine.name
    np.testing.assert_array_equal(engine.counts(inputs(circuit)), circuit.counts(inputs(circuit)))
