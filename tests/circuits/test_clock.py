from dataclasses import replace

import numpy as np
import pytest

from difflut.circuits import (
    DELAYS,
    choose_stages,
    depths,
    estimate_cost,
    fixed_point_words,
    pixel_words,
    simplify,
    simulate,
    synthesize,
    write_testbench,
    write_verilog,
)
from difflut.circuits.arithmetic.clock import Depths
from tests.circuits.networks import inputs, random_circuit

ECP5 = DELAYS["ecp5"]


def clock(levels, luts):
    """A clock that so many levels of tables just reach, in MHz."""
    return 999.9 / ECP5.period(levels, luts)


def random_depths(rng):
    return Depths(*rng.integers(1, [3, 5, 9, 17]).tolist())


def test_no_path_between_registers_is_longer_than_the_clock_lets_it():
    rng = np.random.default_rng(0)
    for _ in range(300):
        found, luts = random_depths(rng), int(rng.integers(50, 9000))
        levels = int(rng.integers(1, found.total + 1))
        stages, chosen = choose_stages(found, luts, clock(levels, luts))
        assert chosen == levels and {"encoder", "argmax"} <= {*stages}
        passed = 0
        for name, depth, between in [
            *((f"layer{number}", 1, None) for number in range(1, found.layers + 1)),
            ("group_sum", found.group_sum, "compressors"),
            ("argmax", found.argmax, "tournament"),
        ]:
            inside = between in stages
            assert passed + (min(depth, levels) if inside else depth) <= levels
            passed = 0 if name in stages else ((depth - 1) % levels + 1 if inside else passed + depth)


def test_a_slower_clock_takes_no_more_stages_and_one_that_waits_for_all_takes_none_inside():
    rng = np.random.default_rng(1)
    for _ in range(50):
        found = random_depths(rng)
        levels = range(1, found.total + 1)
        counts = [len(choose_stages(found, 500, clock(number, 500))[0]) for number in levels]
        assert counts[0] >= found.layers + 2 and counts[-1] == 2
        assert choose_stages(found, 500, 1)[0] == ["encoder", "argmax"]


def test_tables_behind_the_last_register_inside_a_stage_leave_room_for_the_next():
    # Of the three levels that count votes, one is behind their register: the argmax fits behind it.
    assert choose_stages(Depths(1, 1, 3, 1), 500, clock(2, 500)) == (["encoder", "layer1", "compressors", "argmax"], 2)


def test_a_clock_that_no_table_reaches_and_an_unknown_family_are_refused():
    found = Depths(0, 1, 3, 8)
    fastest = 1000 / ECP5.period(1, 297)
    with pytest.raises(ValueError, match=rf"a clock of 900 MHz is faster than one table .* about {fastest:.0f} MHz"):
        choose_stages(found, 297, 900)
    with pytest.raises(ValueError, match="family='virtex' must be one of ecp5"):
        choose_stages(found, 297, 100, "virtex")


def test_depths_of_wires_and_words():
    circuit = simplify(random_circuit(2, n=6, classes=5))[0]
    found = depths(circuit, pixel_words(circuit))
    assert found.layers == 3 and found.encoder >= 1 and found.group_sum >= 1 and found.argmax >= 3
    cost = estimate_cost(circuit, pixel_words(circuit))
    assert cost.depth <= found.total - found.encoder  # digits that are ready early need not wait for others
    bits = replace(circuit, thresholds=np.full_like(circuit.thresholds, 127.5))
    assert depths(bits, pixel_words(bits)).encoder <= 1


@pytest.mark.needs("pyosys", "iverilog")
@pytest.mark.parametrize(("levels", "head"), [(2, "tables"), (5, "tables"), (3, "chains")])
def test_the_design_keeps_to_the_levels_and_gives_the_same(levels, head, tmp_path):
    circuit = simplify(random_circuit(4, n=6, classes=6))[0]
    words, x = fixed_point_words(circuit), inputs(circuit, 40)
    stages, chosen = choose_stages(depths(circuit, words, head), 100, clock(levels, 100))
    design = write_verilog(circuit, tmp_path, words, stages, levels=chosen, head=head)
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    assert chosen == levels and simulate(design, "iverilog").mismatches == 0
    if head == "tables":
        assert synthesize(design, "core").depth <= levels
