from dataclasses import replace

import numpy as np
import pytest

from difflut.circuits import Circuit
from difflut.circuits.passes.care import cancel_outputs, drop_unreachable, merge_equivalent
from difflut.circuits.passes.drop import drop_inputs
from difflut.circuits.passes.possible import possible_addresses
from difflut.circuits.passes.split import split
from difflut.circuits.passes.windows import Windows, possible_levels
from tests.circuits.networks import inputs, random_circuit
from tests.circuits.test_simplify import circuit_of


def every_level(circuit):
    """One input for each combination of levels."""
    values = np.column_stack([circuit.thresholds, np.full(circuit.num_features, np.inf, np.float32)])
    return np.stack([grid.ravel() for grid in np.meshgrid(*values)], axis=1)


@pytest.mark.parametrize("step", [drop_unreachable, merge_equivalent, cancel_outputs, split])
@pytest.mark.parametrize("seed", range(6))
def test_the_function_is_the_same_at_every_level_of_every_feature(step, seed):
    circuit = drop_inputs(random_circuit(seed, n=4 + 3 * (seed % 2), ones=0.3))
    np.testing.assert_array_equal(step(circuit).counts(every_level(circuit)), circuit.counts(every_level(circuit)))


@pytest.mark.parametrize("max_states", [8, 16, 40, 2**14])
def test_what_occurs_is_possible_and_all_that_is_possible_occurs_in_large_windows(max_states):
    circuit = drop_inputs(random_circuit(1))
    windows, values = Windows(circuit, max_states), circuit.signals(every_level(circuit))
    for possible, pins in zip(possible_addresses(windows, np.arange(circuit.num_luts)), circuit.wiring, strict=True):
        used = np.flatnonzero(pins >= 0)
        address = sum((values[pins[position]].astype(int) << position for position in used), np.zeros(1, int))
        seen = np.isin(np.arange(len(possible)) & sum(1 << used), address)
        assert (possible | ~seen).all()
        if max_states > 40:
            np.testing.assert_array_equal(possible, seen)


def thermometer(*arrays, **changes):
    return circuit_of(*arrays, levels=2, **changes)


def test_bits_of_a_thermometer_make_addresses_unreachable():
    # Bit 1 implies bit 0: "0 and 1" is bit 1, "1 and not 0" never is.
    circuit = thermometer([[0, 1], [0, 1]], ["0001", "0010"], [0, 0], [6, 7])
    assert drop_unreachable(circuit).wiring.tolist() == [[-1, 1], [-1, -1]]


def test_a_layer_restricts_the_next():
    # x > 0 or y > 0, x > 1 and y > 1: the second implies the first, so their exclusive or has one address less.
    circuit = thermometer([[0, 2], [1, 3], [6, 7]], ["0111", "0001", "0110"], [0, 0, 1], [8])
    assert possible_addresses(Windows(circuit), np.array([2])).tolist() == [[True, True, False, True]]


def test_a_constant_restricts_the_next():
    # "Bit 1 and not bit 0" never is, whatever the other input of the second LUT is.
    circuit = thermometer([[0, 1], [6, 2]], ["0010", "0111"], [0, 1], [7])
    assert possible_addresses(Windows(circuit), np.array([1])).tolist() == [[True, False, True, False]]


def test_equivalent_signals_of_different_inputs_are_one():
    circuit = thermometer([[0, 2], [1, 2], [6, 1]], ["0001", "1110", "0001"], [0, 0, 1], [7, 8])
    smaller = merge_equivalent(circuit)
    assert smaller.num_luts == circuit.num_luts - 1


def test_signals_that_differ_in_a_rare_state_alone_stay():
    # Of 13 bits, all but the last or all but the first: random levels hardly ever tell them apart.
    wiring = np.full((4, 6), -1)
    wiring[0], wiring[1, :5], wiring[2, :3], wiring[3, :3] = range(1, 7), range(7, 12), (0, 13, 14), (12, 13, 14)
    tables = np.array([np.arange(64) % size == size - 1 for size in (64, 32, 8)])
    circuit = Circuit(
        np.zeros((13, 1), np.float32), np.array([[False], [True]]), wiring, tables, np.array([0, 1, 2, 2]),
        np.array([0, 0, 1, 1]), np.array([15, 16]), np.zeros(2, bool), np.array([0, 1]), np.zeros(2, int), 1.0,
    )  # fmt: skip
    rare = (1 - np.eye(13)[:1]).astype(np.float32)
    assert circuit.counts(rare).tolist() == merge_equivalent(circuit).counts(rare).tolist() == [[0, 1]]


def test_a_signal_and_its_inverse_of_one_class_are_its_bias():
    circuit = thermometer([[0, 2]], ["0111"], [0], [6, 6], inverted=np.array([True, False]))
    smaller = cancel_outputs(circuit)
    assert len(smaller.outputs) == 0 and smaller.bias.tolist() == [1, 0]


def test_levels_between_equal_thresholds_and_above_infinity_do_not_occur():
    circuit = thermometer([[0, 2]], ["0111"], [0], [6])
    thresholds = np.array([[0, 0], [1, np.inf], [-np.inf, 0]], np.float32)
    assert possible_levels(replace(circuit, thresholds=thresholds)).tolist() == [
        [True, False, True],
        [True, True, False],
        [True, True, True],
    ]


@pytest.mark.parametrize("n", [7, 8, 10])
def test_wide_tables_become_luts(n):
    circuit = random_circuit(n, n=n)
    smaller = split(circuit)
    assert smaller.wiring.shape[1] == 6
    np.testing.assert_array_equal(smaller.counts(inputs(circuit)), circuit.counts(inputs(circuit)))
