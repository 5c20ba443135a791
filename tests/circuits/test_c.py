import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit, CompiledCircuit, simplify, write_c
from difflut.registry import ENCODERS
from tests.circuits.networks import inputs, network, random_circuit

pytestmark = pytest.mark.needs("cc")


def assert_equal(circuit, x, folder, **options):
    compiled = CompiledCircuit(write_c(circuit, folder / "c.c"), circuit.num_features, circuit.num_classes, **options)
    counts, classes = compiled.counts_and_classes(x)
    np.testing.assert_array_equal(counts, circuit.counts(x))
    np.testing.assert_array_equal(classes, circuit.classes(x))


@pytest.mark.parametrize("n", [1, 2, 4, 6, 7])
def test_random_circuits_before_and_after_simplification(n, tmp_path):
    circuit = random_circuit(n, n=n)
    assert_equal(circuit, inputs(circuit, 1100), tmp_path)
    assert_equal(simplify(circuit)[0], inputs(circuit, 1100), tmp_path)


@pytest.mark.parametrize("encoder", [*ENCODERS, None])
def test_every_encoder_on_floats(encoder, tmp_path):
    circuit = Circuit.from_model(network(encoder=encoder))
    x = torch.randn(700, 20 if encoder is None else 5)
    x[0, 0], x[1, 1], x[2, 2] = float("nan"), float("inf"), -float("inf")
    assert_equal(circuit, x.numpy(), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 64, 513])
def test_pixels_of_any_number(samples, tmp_path):
    circuit = Circuit.from_model(network(n=4, data=torch.randint(256, (300, 5), dtype=torch.uint8)))
    assert_equal(circuit, np.random.default_rng(0).integers(256, size=(samples, 5), dtype=np.uint8), tmp_path)


def test_it_is_strict_c99_and_works_with_words_of_64_bits(tmp_path):
    circuit = random_circuit(0)
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    assert_equal(circuit, inputs(circuit), tmp_path, flags=flags)
    source = write_c(circuit, tmp_path / "c.c")
    source.write_text(source.read_text().replace("defined(__GNUC__)", "0"))
    counts, _ = CompiledCircuit(source, circuit.num_features, circuit.num_classes).counts_and_classes(inputs(circuit))
    np.testing.assert_array_equal(counts, circuit.counts(inputs(circuit)))


def test_thousands_of_classes_fit_the_stack_of_a_small_thread(tmp_path):
    circuit = random_circuit(1, classes=4096)
    previous = threading.stack_size(256 * 1024)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(assert_equal, circuit, inputs(circuit, 600), tmp_path).result()
    finally:
        threading.stack_size(previous)


def test_errors_say_what_is_wrong(tmp_path):
    circuit = random_circuit(0)
    source = write_c(circuit, tmp_path / "c.c")
    with pytest.raises(ValueError, match="has 4 features, x has 7"):
        CompiledCircuit(source, circuit.num_features, circuit.num_classes).counts_and_classes(np.zeros((2, 7)))
    source.write_text("not C")
    with pytest.raises(RuntimeError, match="failed"):
        CompiledCircuit(source, circuit.num_features, circuit.num_classes)


def test_a_constant_network_has_its_bias_alone(tmp_path):
    circuit = random_circuit(0)
    one = {"outputs": np.array([20]), "inverted": circuit.inverted[:1], "groups": circuit.groups[:1]}
    constant, _ = simplify(replace(circuit, tables=np.ones_like(circuit.tables), **one))
    assert_equal(constant, inputs(circuit, 5), tmp_path)
