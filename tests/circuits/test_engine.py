from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit, simplify
from difflut.circuits.engine import Engine, cpu, make_engine
from difflut.circuits.engine.cpu import CpuEngine
from difflut.circuits.passes.drop import drop_inputs
from difflut.circuits.passes.simplify import fold_constants, fold_wires, merge_duplicates, remove_dead
from difflut.registry import ENCODERS, NODES
from tests.circuits.networks import inputs, network, random_circuit
from tests.layers.making import WIRED

compiled = pytest.mark.needs("c++")
WAYS = [(512, True), (512, False), (256, False), (64, False)]


def assert_equal(engine, circuit, x):
    np.testing.assert_array_equal(engine.counts(x), circuit.counts(x))
    np.testing.assert_array_equal(engine.classes(x), circuit.classes(x))
    np.testing.assert_array_equal(engine.logits(x), circuit(x))


def thermometers(seed, features, levels, luts=400, n=4, classes=7):
    """One layer behind thresholds of every feature."""
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.normal(size=(features, levels)), axis=1).astype(np.float32)
    bits = features * levels
    return Circuit(thresholds, np.tri(levels + 1, levels, -1, dtype=bool), rng.integers(bits, size=(luts, n)),
                   rng.random((luts, 2**n)) < 0.5, np.arange(luts), np.zeros(luts, int), bits + np.arange(luts),
                   np.zeros(luts, bool), np.arange(luts) % classes, np.zeros(classes, int), 2.0)  # fmt: skip


def pixels(samples, features=4, high=5):
    return np.random.default_rng(samples).integers(high, size=(samples, features), dtype=np.uint8)


@compiled
@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize(("bits", "assemble"), WAYS)
def test_random_circuits_in_every_width(n, bits, assemble):
    for seed in range(3):
        circuit = random_circuit(seed, n=n)
        engine = CpuEngine(circuit, 1, bits, assemble)
        assert_equal(engine, circuit, inputs(circuit, 700))
        assert_equal(engine, circuit, pixels(700))


@compiled
@pytest.mark.parametrize("n", [2, 6])
def test_wide_circuits_need_more_signals_than_there_are_registers(n):
    circuit = random_circuit(n, n=n, depth=5, width=700)
    for bits, assemble in WAYS[:2]:
        assert_equal(CpuEngine(circuit, 1, bits, assemble), circuit, inputs(circuit, 600))


@compiled
@pytest.mark.parametrize("samples", [0, 1, 63, 64, 513, 5000])
def test_any_number_of_samples_on_two_threads(samples):
    circuit = random_circuit(1)
    assert_equal(circuit.engine(threads=2), circuit, pixels(samples))


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_before_and_after_simplification(node):
    circuit = Circuit.from_model(network(node))
    x = torch.randn(600, 5).numpy()
    assert_equal(circuit.engine(threads=1), circuit, x)
    assert_equal(simplify(circuit)[0].engine(threads=1), circuit, x)


@pytest.mark.parametrize("layer", WIRED)
def test_every_wiring_without_an_encoder(layer):
    circuit = Circuit.from_model(network(layer=layer, encoder=None))
    assert_equal(circuit.engine(threads=1), circuit, torch.rand(300, 20).round().numpy())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_on_its_thresholds_and_at_odd_inputs(encoder):
    circuit = Circuit.from_model(network(encoder=encoder))
    x = torch.randn(500, 5).numpy()
    x[: circuit.thresholds.shape[1]] = circuit.thresholds.T
    x[100:104, 0] = np.nan, np.inf, -np.inf, -0.0
    assert_equal(circuit.engine(threads=1), circuit, x)


def test_pixels_at_on_and_beyond_every_threshold():
    circuit = replace(random_circuit(3), thresholds=np.array([[-0.5, 0, 0.5], [99.5, 100, 254.5], [255, 255.5, 300],
                                                              [-np.inf, 1, np.inf]], np.float32))  # fmt: skip
    every = np.arange(256, dtype=np.uint8)[:, None]
    x = np.concatenate([np.roll(every, shift, 0) for shift in range(4)], 1)
    engine = circuit.engine(threads=1)
    assert_equal(engine, circuit, x)
    np.testing.assert_array_equal(engine.counts(x), engine.counts(x.astype(np.float32)))


@compiled
@pytest.mark.parametrize("features", [1, 15, 16, 17, 50])
@pytest.mark.parametrize("bits", [512, 256, 64])
def test_floats_are_compared_column_by_column_whatever_their_number(features, bits):
    circuit, rng = thermometers(features, features, 5), np.random.default_rng(features)
    x = rng.normal(size=(530, features)).astype(np.float32)
    equal = rng.random(x.shape) < 0.3
    x[equal] = circuit.thresholds[np.arange(features), rng.integers(5, size=x.shape)][equal]
    x[rng.random(x.shape) < 0.1] = np.nan
    assert_equal(CpuEngine(circuit, 1, bits), circuit, x)


@compiled
@pytest.mark.parametrize("flags", [(), ("-DDIFFLUT_PORTABLE",)])
def test_doubles_are_rounded_as_numpy_does(flags):
    circuit = thermometers(6, 20, 3)
    thresholds = circuit.thresholds.astype(float)
    above = np.nextafter(circuit.thresholds, np.float32(np.inf)).astype(float)
    rng = np.random.default_rng(6)
    x = (thresholds + (above - thresholds) * rng.choice([0, 0.49, 0.5, 0.51, 1], (700, 20, 3)))[..., 1]
    x[::5, 2] = np.nan
    assert 0.2 < (x.astype(np.float32) > circuit.thresholds[:, 1]).mean() < (x > thresholds[:, 1]).mean() - 0.1
    assert_equal(CpuEngine(circuit, 1, extra_flags=flags), circuit, x)


@compiled
def test_more_thresholds_than_a_byte_has_values_and_more_features_than_a_vector():
    circuit, x = thermometers(0, 100, 300), np.random.default_rng(1).normal(size=(150, 100))
    for bits, assemble in WAYS:
        assert_equal(CpuEngine(circuit, 1, bits, assemble), circuit, x)


@compiled
def test_a_narrow_feature_has_more_thresholds_than_a_byte_has_values():
    circuit = replace(thermometers(1, 3, 600, 900, 3, 3), bias=np.array([-2, 5, 0]))
    assert_equal(circuit.engine(threads=1), circuit, np.random.default_rng(2).normal(size=(200, 3)))
    assert_equal(circuit.engine(threads=1), circuit, pixels(50, 3))


def test_a_constant_network_and_many_classes():
    circuit = random_circuit(0, classes=40)
    assert_equal(circuit.engine(threads=1), circuit, inputs(circuit, 70))
    constant = replace(circuit, tables=np.ones_like(circuit.tables), outputs=np.full(20, 20))
    assert_equal(constant.engine(threads=1), constant, inputs(circuit, 70))


@compiled
def test_the_portable_code_does_the_same():
    circuit = random_circuit(4, n=6)
    engine = CpuEngine(circuit, 1, 256, extra_flags=("-DDIFFLUT_PORTABLE",))
    assert_equal(engine, circuit, inputs(circuit, 300))
    assert_equal(engine, circuit, pixels(300))


def test_without_a_compiler_numpy_does_the_same(monkeypatch):
    monkeypatch.setattr(cpu, "available", lambda: False)
    circuit = random_circuit(0)
    engine = circuit.engine()
    assert type(engine) is Engine
    assert_equal(engine, circuit, inputs(circuit))


def test_errors_say_what_is_wrong():
    circuit = random_circuit(0)
    for engine in (circuit, circuit.engine(), Engine(circuit)):
        with pytest.raises(ValueError, match="has 4 features, x has 7"):
            engine.classes(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="'tpu'; known: cpu, cuda"):
        make_engine(circuit, "tpu")
    if cpu.available():
        with pytest.raises(ValueError, match="bits=128"):
            CpuEngine(circuit, bits=128)


@compiled
@pytest.mark.parametrize("n", [2, 4, 6])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_quick_to_simplify_is_as_much_as_passes_find(n, seed):
    circuit = replace(random_circuit(seed, n=n, ones=0.3), codebook=np.tri(4, 3, -1, dtype=bool))
    folded, before = circuit, 0
    while before != (before := folded.num_luts):
        for step in (drop_inputs, fold_constants, fold_wires, merge_duplicates, remove_dead):
            folded = step(folded)
    assert folded.num_luts < circuit.num_luts and CpuEngine(circuit).num_nodes <= folded.num_luts
    smaller, _ = simplify(circuit)
    assert CpuEngine(smaller).num_nodes == smaller.num_luts
