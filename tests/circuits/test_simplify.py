from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit, simplify
from difflut.circuits.passes.absorb import absorb
from difflut.circuits.passes.simplify import (
    drop_inputs,
    fold_constants,
    fold_wires,
    merge_duplicates,
    merge_inputs,
    remove_dead,
)
from difflut.registry import NODES
from tests.circuits.networks import inputs, network, random_circuit

PASSES = [merge_inputs, drop_inputs, fold_constants, fold_wires, merge_duplicates, remove_dead, absorb]


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.__name__)
@pytest.mark.parametrize("ones", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_pass_keeps_the_function(step, ones, seed):
    circuit = drop_inputs(random_circuit(seed, ones=ones))
    smaller = step(circuit)
    assert smaller.num_luts <= circuit.num_luts
    np.testing.assert_array_equal(smaller.counts(inputs(circuit)), circuit.counts(inputs(circuit)))


@pytest.mark.parametrize("n", [1, 2, 4, 7])
@pytest.mark.parametrize("seed", range(6))
def test_simplification_keeps_the_function_and_its_inputs_fit(n, seed):
    circuit = random_circuit(seed, n=n, ones=(0.1, 0.3, 0.5)[seed % 3])
    smaller, report = simplify(circuit, lut_size=5)
    np.testing.assert_array_equal(smaller.counts(inputs(circuit)), circuit.counts(inputs(circuit)))
    assert report.luts_before == circuit.num_luts > report.luts_after == smaller.num_luts == sum(report.layers_after)
    assert smaller.wiring.shape[1] <= max(n, 5)
    assert sum(report.removed.values()) == report.luts_before - report.luts_after


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("n", [2, 4])
def test_every_node_type_is_simplified_to_what_the_model_computes(node, n):
    model, x = network(node, n=NODES[node].nearest_inputs(n)), torch.randn(400, 5)
    smaller, report = simplify(Circuit.from_model(model))
    with torch.no_grad():
        np.testing.assert_array_equal(smaller(x.numpy()), model(x).numpy())
    assert report.luts_after <= report.luts_before == 70


def circuit_of(wiring, tables, layers, outputs, groups=None, levels=1, **changes):
    thresholds = np.tile(np.arange(levels, dtype=np.float32), (3, 1))
    outputs, bits = np.array(outputs), np.array([[int(bit) for bit in table] for table in tables], bool)
    groups = np.zeros(len(outputs), int) if groups is None else np.array(groups)
    circuit = Circuit(thresholds, np.tri(levels + 1, levels, -1, dtype=bool), np.array(wiring), bits,
                      np.arange(len(bits)), np.array(layers), outputs, np.zeros(len(outputs), bool), groups,
                      np.zeros(2, int), 1.0)  # fmt: skip
    return replace(circuit, **changes)


@pytest.mark.parametrize(
    ("step", "circuit"),
    [
        (fold_constants, circuit_of([[-1, -1], [0, 3]], ["1111", "0001"], [0, 1], [4])),
        (fold_wires, circuit_of([[1, -1], [0, 3]], ["1010", "0001"], [0, 1], [4])),
        (merge_duplicates, circuit_of([[0, 1], [0, 1], [3, 4]], ["0111", "1000", "0110"], [0, 0, 1], [5, 4])),
        (remove_dead, circuit_of([[0, 1], [0, 2], [0, 3]], ["0111", "1110", "0001"], [0, 0, 1], [5])),
        (absorb, circuit_of([[0, 1], [2, 3]], ["0111", "0110"], [0, 1], [4])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_pass_removes_what_it_is_for(step, circuit):
    smaller = step(circuit)
    assert smaller.num_luts == circuit.num_luts - 1
    np.testing.assert_array_equal(smaller.counts(inputs(circuit)), circuit.counts(inputs(circuit)))


def test_an_input_that_is_read_twice_or_in_vain_is_dropped():
    smaller = drop_inputs(circuit_of([[1, 1], [0, 2]], ["0110", "0011"], [0, 0], [3, 4]))
    assert smaller.wiring.tolist() == [[-1, -1], [2, -1]]


def test_equal_thresholds_make_equal_bits():
    circuit = circuit_of([[0, 1]], ["0110"], [0], [6], levels=2, thresholds=np.zeros((3, 2), np.float32))
    smaller, _ = simplify(circuit)
    assert smaller.num_luts == 0 and smaller.counts(inputs(circuit)).sum() == 0


def test_a_constant_network_keeps_its_counts_without_any_lut():
    circuit = circuit_of([[0, 1], [1, 2]], ["1111", "0000"], [0, 0], [3, 4], [0, 1])
    smaller, report = simplify(circuit)
    assert smaller.num_luts == 0 and smaller.bias.tolist() == [1, 0]
    assert report.removed["fold_constants"] == 2 and "2 LUTs before, 0 after" in str(report)
    np.testing.assert_array_equal(smaller.classes(inputs(circuit)), 0)
