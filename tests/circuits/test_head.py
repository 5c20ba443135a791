from dataclasses import replace

import numpy as np
import pytest

from difflut.circuits import estimate_cost, fixed_point_words, write_verilog
from difflut.circuits.arithmetic.chain_sums import ATOMS, CARRIED, add_chains
from difflut.circuits.arithmetic.chains import SHARED, add_chain
from difflut.circuits.arithmetic.compressors import add_compressors, columns_of
from difflut.circuits.arithmetic.head import add_tournament, index_width
from difflut.circuits.arithmetic.netlist import netlist
from difflut.circuits.arithmetic.pairs import count_luts, pairs
from difflut.circuits.arithmetic.pipeline import LEVELS, count_registers, pipeline
from difflut.circuits.arithmetic.tables import Tables
from tests.circuits.networks import random_circuit


def evaluate(tables, values):
    """The signals of the tables, each an array over samples, and the constants."""
    values = values | {"0": np.zeros_like(next(iter(values.values()))), "1": np.ones_like(next(iter(values.values())))}
    for table in tables.flat:
        assert len(table.inputs) <= 6
        address = sum(values[name] << place for place, name in enumerate(table.inputs))
        entries = np.array([table.init >> entry & 1 for entry in range(2 ** len(table.inputs))])
        values[table.output] = entries[address]
    return values | {f"~{name}": 1 - value for name, value in values.items()}


def test_a_table_of_constants_and_inverses_is_what_it_comes_to_and_no_larger():
    rng = np.random.default_rng(0)
    bits = {f"b{index}": rng.integers(2, size=256) for index in range(3)}
    known = ["0", "1", *bits, *(f"~{name}" for name in bits)]
    for _ in range(500):
        tables, inputs = Tables("t"), rng.choice(known, rng.integers(1, 5)).tolist()
        init = int(rng.integers(2 ** (2 ** len(inputs))))
        output = tables.add(init, inputs)
        found = evaluate(tables, bits)
        address = sum(found[name] << place for place, name in enumerate(inputs))
        np.testing.assert_array_equal(found[output], init >> address & 1)
        if len({name.removeprefix("~") for name in inputs} & bits.keys()) == sum(name[0] in "~b" for name in inputs):
            for table in tables.made:  # every input of it matters
                rows = np.arange(2 ** len(table.inputs))
                entries = table.init >> rows & 1
                assert all((entries != entries[rows ^ 1 << place]).any() for place in range(len(table.inputs)))


def number(digits, values):
    return sum(values[digit] << place for place, digit in enumerate(digits))


@pytest.mark.parametrize("add", [add_compressors, add_chains])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 17, 50, 100])
def test_compressors_and_chains_keep_the_sum(size, add):
    rng = np.random.default_rng(size)
    often, inverted = rng.integers(1, 6, size), rng.integers(2, size=size)
    bits = {f"b{index}": rng.integers(2, size=40) for index in range(size)}
    named = ["~" * flip + name for name, flip in zip(bits, inverted.tolist(), strict=True)]
    bias = int(rng.integers(1, 9))
    columns = columns_of([*zip(named, often.tolist(), strict=True), ("1", bias)])
    tables = Tables("t", chains=add is add_chains)
    digits = add(tables, columns, int(often.sum() + bias).bit_length())
    total = bias + sum(times * (bit ^ flip) for bit, times, flip in zip(bits.values(), often, inverted, strict=True))
    np.testing.assert_array_equal(number(digits, evaluate(tables, bits)), total)


@pytest.mark.parametrize(("votes", "most"), [(6, 3), (10, 8), (20, 17), (50, 45), (70, 66), (150, 145)])
def test_votes_cost_less_than_a_table_each(votes, most):
    tables = Tables("t")
    add_compressors(tables, [[f"b{index}" for index in range(votes)]], votes.bit_length())
    assert len(tables.made) <= most


@pytest.mark.parametrize(("votes", "most"), [(6, 2), (10, 5), (20, 11), (50, 28), (70, 41), (150, 90)])
def test_votes_cost_two_thirds_of_a_lut_on_chains(votes, most):
    tables = Tables("t", chains=True)
    add_chains(tables, [[f"b{index}" for index in range(votes)]], votes.bit_length())
    assert count_luts(tables) <= most


@pytest.mark.parametrize("atom", ATOMS)
@pytest.mark.parametrize("inverted", [0, 0.5, 1])
def test_every_atom_adds_its_bits_with_no_more_inputs_than_a_lut_has(atom, inverted):
    rng = np.random.default_rng(len(atom))
    columns = [[f"b{place}_{index}" for index in range(bits)] for place, bits in enumerate(atom)]
    columns[0] += ["carried"] * (atom[0] <= CARRIED)
    bits = {name: rng.integers(2, size=300) for column in columns for name in column}
    flipped = {name: "~" * int(rng.random() < inverted) + name for name in bits}
    tables = Tables("t", chains=True)
    chain = add_chain(tables, [atom], [[flipped[name] for name in column] for column in columns], len(atom) + 1)
    values = evaluate(tables, bits)
    total = sum(values[flipped[name]] << place for place, column in enumerate(columns) for name in column)
    np.testing.assert_array_equal(number(chain.outputs, values), total)
    assert chain.luts == len(atom)
    for position in chain.positions:
        assert len(position.inputs) <= (SHARED if position.two else 6)


def test_tables_share_a_lut_of_five_inputs_and_two_outputs_where_no_register_can_be_between_them():
    tables, names = Tables("t", chains=True), [[f"c{row}_{place}" for place in range(5)] for row in range(7)]
    add_tournament(tables, names)
    found = pairs(tables)
    assert len(found) > len(tables.made) / 4 and count_luts(tables) == len(tables.made) - len(found)
    assert len({table.output for pair in found for table in pair}) == 2 * len(found)
    for first, second in found:
        assert len({*first.inputs, *second.inputs}) <= 5
        assert tables.depth[first.output] == tables.depth[second.output]


@pytest.mark.parametrize("chains", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8])
def test_the_first_of_the_highest_counts_wins(classes, width, chains):
    rng = np.random.default_rng(classes)
    widths = rng.integers(max(width - 1, 1), width + 1, classes).tolist()
    counts = np.stack([rng.integers(2**own, size=200) for own in widths])
    counts[:, ::3] = np.minimum(counts[:, ::3], 2)  # ties
    names = [[f"c{row}_{place}" for place in range(own)] for row, own in enumerate(widths)]
    values = {name: counts[row] >> place & 1 for row, digits in enumerate(names) for place, name in enumerate(digits)}
    tables = Tables("t", chains)
    winner = add_tournament(tables, names)
    assert len(winner) == index_width(classes)
    np.testing.assert_array_equal(number(winner, evaluate(tables, values)), counts.argmax(0))


@pytest.mark.parametrize("add", [add_compressors, add_chains])
def test_no_stage_has_longer_paths_than_it_may_and_nothing_is_lost_between_stages(add):
    tables = Tables("t")
    digits = add(tables, [[f"b{index}" for index in range(100)]], 7)
    staged = pipeline(tables, digits)
    assert len(staged.stages) == 1 + len(staged.passed) == -(-max(tables.depth.values()) // LEVELS)
    there = {f"b{index}" for index in range(100)}
    for stage, passed in zip(staged.stages, [*staged.passed, digits], strict=True):
        depth = dict.fromkeys(there, 0)
        for cell in stage:
            depth |= dict.fromkeys(cell.outputs, 1 + max(depth[name] for name in cell.inputs))
        assert max(depth.values()) <= LEVELS and set(passed) <= depth.keys()
        there = set(passed)


def test_registers_in_a_row_are_a_shift_register_unless_one_is_read():
    made = {"a": 0, "b": 1, "c": 2}
    assert count_registers(made, [(["a"], 1), (["b"], 3)]) == (3, 0)
    assert count_registers(made, [(["a", "~b"], 5)]) == (0, 2)
    assert count_registers(made, [(["a"], 2), (["a", "c", "0"], 5)]) == (2, 2)


def test_counts_that_begin_below_0_are_refused(tmp_path):
    circuit = replace(random_circuit(1), bias=np.array([2, -7, -6]))
    writers = (netlist, estimate_cost, lambda circuit: write_verilog(circuit, tmp_path, fixed_point_words(circuit)))
    for write in writers:
        with pytest.raises(ValueError, match="bias of class 1 is -7, but tables count from 0 on; add 7 to the bias"):
            write(circuit)
    assert not any(tmp_path.iterdir())
