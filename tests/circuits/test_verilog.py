import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflut.circuits import (
    Circuit,
    estimate_cost,
    fixed_point_words,
    pixel_words,
    simplify,
    simulate,
    write_testbench,
    write_verilog,
)
from difflut.registry import ENCODERS
from tests.circuits.networks import inputs, network, random_circuit

icarus, verilator = pytest.mark.needs("iverilog"), pytest.mark.needs("verilator")


def assert_equal(circuit, x, words, folder, pipeline=False, simulator="iverilog", counts=True):
    design = write_verilog(circuit, folder, words, pipeline, counts)
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    result = simulate(design, simulator)
    assert (result.samples, result.mismatches, result.first) == (len(x), 0, -1)
    return design


@icarus
@pytest.mark.parametrize(
    ("n", "pipeline"), [(1, False), (1, True), (2, False), (4, False), (4, True), (7, True), (8, True), (9, True)]
)
def test_random_circuits_before_and_after_simplification(n, pipeline, tmp_path):
    circuit = random_circuit(n, n=n, classes=2 + n)
    x = inputs(circuit, 40)
    words = fixed_point_words(circuit)
    assert words.exact
    assert_equal(circuit, x, words, tmp_path / "before", pipeline)
    design = assert_equal(simplify(circuit)[0], x, words, tmp_path / "after", pipeline)
    assert f"latency {design.latency} cycles" in (tmp_path / "after" / "circuit.v").read_text() or not pipeline


@icarus
@pytest.mark.parametrize(
    ("registers", "latency"),
    [([], 0), (["layer2"], 1), (["encoder", "layer1", "layer3"], 3), (["group_sum", "argmax"], 2), (["tournament"], 2)],
)
def test_registers_follow_the_chosen_stages(registers, latency, tmp_path):
    circuit = random_circuit(5, classes=5)
    x = inputs(circuit, 40)
    assert assert_equal(circuit, x, fixed_point_words(circuit), tmp_path, registers).latency == latency


def test_no_line_grows_with_the_circuit(tmp_path):
    circuit = random_circuit(1, width=900)
    write_verilog(circuit, tmp_path, fixed_point_words(circuit), pipeline=True)
    assert max(len(line) for path in tmp_path.glob("*.v") for line in path.read_text().splitlines()) < 1000


def test_an_unknown_stage_is_named(tmp_path):
    circuit = random_circuit(0)
    with pytest.raises(ValueError, match=r"no stage 'layer4' .* encoder, layer1, layer2, layer3, compressors"):
        write_verilog(circuit, tmp_path, fixed_point_words(circuit), ["layer4"])


@icarus
@pytest.mark.parametrize("encoder", [*ENCODERS, None])
def test_every_encoder_on_floats(encoder, tmp_path):
    circuit = Circuit.from_model(network(encoder=encoder))
    x = torch.randn(40, 20 if encoder is None else 5).numpy()
    assert_equal(circuit, x, fixed_point_words(circuit), tmp_path)


@icarus
@pytest.mark.parametrize("pipeline", [False, True])
def test_pixels(pipeline, tmp_path):
    circuit = Circuit.from_model(network(n=6, data=torch.randint(256, (300, 5), dtype=torch.uint8)))
    x = np.random.default_rng(0).integers(256, size=(40, 5), dtype=np.uint8)
    assert_equal(circuit, x, pixel_words(circuit), tmp_path, pipeline)


@verilator
def test_verilator_agrees(tmp_path):
    circuit = random_circuit(3)
    assert_equal(circuit, inputs(circuit), fixed_point_words(circuit), tmp_path, True, "verilator")


@icarus
@pytest.mark.parametrize("pipeline", [False, True])
def test_the_testbench_finds_the_first_sample_of_a_flipped_table_bit(pipeline, tmp_path):
    circuit = random_circuit(0)
    x = inputs(circuit, 40)
    counted = circuit.outputs[circuit.outputs >= circuit.num_inputs][0] - circuit.num_inputs
    read = circuit.signals(x)[circuit.wiring[counted]] & (circuit.wiring[counted] >= 0)[:, None]
    addresses = read.T @ (1 << np.arange(4))
    flipped, table_of = np.append(circuit.tables, circuit.tables[circuit.table_of[counted]][None], 0), circuit.table_of
    flipped[-1, addresses[7] | (np.arange(16) & sum(1 << np.flatnonzero(circuit.wiring[counted] < 0)))] ^= True
    table_of = np.where(np.arange(circuit.num_luts) == counted, len(circuit.tables), table_of)
    design = write_verilog(
        replace(circuit, tables=flipped, table_of=table_of), tmp_path, fixed_point_words(circuit), pipeline, True
    )
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    result = simulate(design, "iverilog")
    differs = addresses == addresses[7]
    assert (result.mismatches, result.first) == (differs.sum(), differs.argmax())


@icarus
@pytest.mark.parametrize("define", ["", "-DSYNTHESIS "])
def test_the_command_in_the_testbench_works_as_it_stands_and_as_synthesis_tools_read_tables(define, tmp_path):
    circuit = random_circuit(3, n=6, classes=4)
    x = inputs(circuit, 40)
    design = write_verilog(circuit, tmp_path, fixed_point_words(circuit), ["layer1"])
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    command = (tmp_path / "testbench.v").read_text().split("In this folder: ")[1].splitlines()[0]
    run = command.replace("*.v", f"{define}*.v")
    output = subprocess.run(run, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "RESULT 40 0 -1" in output and "WARNING" not in output


@pytest.mark.parametrize("max_width", [12, 32])
def test_words_compare_as_floats_do_or_say_that_they_do_not(max_width):
    circuit = Circuit.from_model(network())
    words = fixed_point_words(circuit, max_width)
    assert words.exact == (max_width == 32) and words.width <= max_width
    thresholds = circuit.thresholds
    rng, odd = np.random.default_rng(0), [np.nan, np.inf, -np.inf, 1e30, 0]
    near = [np.nextafter(thresholds, np.float32(side)).T for side in (-9, 9)]
    x = np.concatenate([thresholds.T, *near, rng.normal(size=(500, 5)), [odd]])
    x = x.astype(np.float32)
    exceeds, holds = words(x)[..., None] > words.limits, x[..., None] > thresholds
    assert words(x).min() >= 0 and words(x).max() < 2**words.width
    if words.exact:
        np.testing.assert_array_equal(exceeds, holds)
    else:
        grid = np.ldexp(1.0, -words.scales)[:, None]
        between = (x[..., None] <= thresholds) & (x[..., None] > thresholds - grid)
        np.testing.assert_array_equal(exceeds[~between], holds[~between])


def test_every_pixel_compares_as_its_float():
    circuit = random_circuit(0)
    thresholds = np.array([[-1, 0, 0.5], [3, 254.9, 255], [-0.5, 255.5, 300], [1, 2, 3]], np.float32)
    circuit = replace(circuit, thresholds=thresholds)
    x = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
    words = pixel_words(circuit)
    np.testing.assert_array_equal(words(x)[..., None] > words.limits, x[..., None] > thresholds)


@icarus
@pytest.mark.parametrize(("levels", "latency"), [(1, 5), (2, 2), (9, 0)])
def test_fewer_levels_between_registers_are_more_cycles(levels, latency, tmp_path):
    circuit, stages = random_circuit(5, classes=5), ["compressors", "tournament"]
    x = inputs(circuit, 40)
    design = write_verilog(circuit, tmp_path, fixed_point_words(circuit), stages, counts=True, levels=levels)
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    assert simulate(design, "iverilog").mismatches == 0 and design.latency == latency


@icarus
@pytest.mark.parametrize("pipeline", [False, True])
def test_a_design_may_give_the_class_alone(pipeline, tmp_path):
    circuit = random_circuit(5, classes=7)
    design = assert_equal(circuit, inputs(circuit, 40), fixed_point_words(circuit), tmp_path, pipeline, counts=False)
    assert design.count_width == 0 and "counts" not in (tmp_path / "circuit.v").read_text()


@icarus
@pytest.mark.parametrize("levels", [None, 1, 2])
def test_a_head_on_carry_chains_gives_the_same(levels, tmp_path):
    circuit = random_circuit(6, n=6, classes=7)
    x = inputs(circuit, 40)
    design = write_verilog(
        circuit, tmp_path, fixed_point_words(circuit), bool(levels), True, levels or 1, "a_", head="chains"
    )
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    assert simulate(design, "iverilog").mismatches == 0
    assert "carry #" in (tmp_path / "a_group_sum.v").read_text() and "lut_pair" in (tmp_path / "a_argmax.v").read_text()
    write_verilog(circuit, tmp_path, fixed_point_words(circuit), head="tables", prefix="a_")
    assert not (tmp_path / "a_carry.v").exists()


# As Xilinx' library guide for designs of the 7 series (UG953) describes them.
PRIMITIVES = """\
module LUT6 #(parameter [63:0] INIT = 0) (input I0, I1, I2, I3, I4, I5, output O);
    assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
module LUT6_2 #(parameter [63:0] INIT = 0) (input I0, I1, I2, I3, I4, I5, output O5, O6);
    assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}], O6 = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
module CARRY4 (input CI, CYINIT, input [3:0] DI, S, output [3:0] O, CO);
    wire [4:0] c = {S[3] ? CO[2] : DI[3], S[2] ? CO[1] : DI[2], S[1] ? CO[0] : DI[1], S[0] ? c[0] : DI[0], CI | CYINIT};
    assign O = S ^ c[3:0], CO = c[4:1];
endmodule
"""


@icarus
@pytest.mark.parametrize("head", ["tables", "chains"])
def test_primitives_of_xilinx_devices_compute_the_same(head, tmp_path):
    circuit = random_circuit(8, n=6, width=60, classes=5)
    often = np.repeat(2 ** np.arange(6), 2)  # two words of six bits, so that a chain is longer than a CARRY4
    outputs = np.concatenate([np.arange(60, 170), np.repeat(np.arange(170, 182), often)])
    groups = np.where(np.arange(len(outputs)) < 110, 1 + np.arange(len(outputs)) % 4, 0)
    circuit = replace(
        circuit, outputs=outputs, inverted=outputs % 3 == 0, groups=groups, bias=np.array([0, 2, 1, 1, 0])
    )
    x = inputs(circuit, 40)
    design = write_verilog(circuit, tmp_path, fixed_point_words(circuit), counts=True, head=head)
    write_testbench(design, x, circuit.counts(x), circuit.classes(x))
    assert ("carry #(.N(6))" in (tmp_path / "group_sum.v").read_text()) == (head == "chains")
    (tmp_path / "primitives.v").write_text(PRIMITIVES)
    command = (tmp_path / "testbench.v").read_text().split("In this folder: ")[1].splitlines()[0]
    run = command.replace("*.v", "-DDIFFLUT_XILINX *.v")
    output = subprocess.run(run, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "RESULT 40 0 -1" in output and "WARNING" not in output


def test_an_unknown_head_is_refused(tmp_path):
    circuit = random_circuit(0)
    with pytest.raises(ValueError, match="head='chain' must be one of tables, chains"):
        write_verilog(circuit, tmp_path, fixed_point_words(circuit), head="chain")
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a program is a shell script here")
def test_a_simulator_that_hangs_is_ended(tmp_path, monkeypatch):
    circuit = random_circuit(0)
    design = write_verilog(circuit, tmp_path, fixed_point_words(circuit))
    (tmp_path / "iverilog").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "iverilog").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(TimeoutError, match=r"iverilog was not done within 0\.2 s"):
        simulate(design, "iverilog", timeout=0.2)


def test_a_missing_simulator_is_named(tmp_path, monkeypatch):
    circuit = random_circuit(0)
    design = write_verilog(circuit, tmp_path, fixed_point_words(circuit))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt install verilator"):
        simulate(design)


BOTH = """\
module testbench;
    reg clk = 0;
    reg [{width}-1:0] x [0:{samples}-1];
    integer i;
    reg [{width}-1:0] row;
    wire [1:0] first, second;
    first_circuit one (.x(row), .winner(first));
    second_circuit two (.clk(clk), .x(row), .winner(second));
    initial begin
        $readmemh("first/inputs.hex", x);
        for (i = 0; i < {samples}; i = i + 1) begin
            row = x[i];
            #1 clk = 1;
            #1 clk = 0;
            #1 $display("%0d %0d", first, second);
        end
    end
endmodule
"""


@icarus
def test_with_prefixes_two_circuits_fit_into_one_design(tmp_path):
    circuits = {"first": random_circuit(1), "second": random_circuit(2)}
    thresholds = circuits["first"].thresholds
    circuits["second"] = replace(circuits["second"], thresholds=thresholds)
    x, files = inputs(circuits["first"], 40), []
    for name, circuit in circuits.items():
        words, registers = fixed_point_words(circuit), ["argmax"] * (name == "second")
        design = write_verilog(circuit, tmp_path / name, words, registers, prefix=f"{name}_")
        assert {path.name for path in design.folder.iterdir()} == set(design.files)
        write_testbench(design, x, circuit.counts(x), circuit.classes(x))
        assert simulate(design, "iverilog").mismatches == 0
        files += [str(design.folder / file) for file in design.files]
    (tmp_path / "both.v").write_text(BOTH.format(width=4 * words.width, samples=len(x)))
    subprocess.run(["iverilog", "-g2005", "-Wall", "-o", "both", "both.v", *files], cwd=tmp_path, check=True)
    output = subprocess.run(["vvp", "-n", "both"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = np.array(output.split(), int).reshape(-1, 2)
    np.testing.assert_array_equal(found, np.column_stack([circuit.classes(x) for circuit in circuits.values()]))
    assert (found[:, 0] != found[:, 1]).any()


@icarus
def test_a_constant_network_has_its_bias_alone(tmp_path):
    circuit = random_circuit(0)
    one = {"outputs": np.array([20]), "inverted": circuit.inverted[:1], "groups": circuit.groups[:1]}
    constant, _ = simplify(replace(circuit, tables=np.ones_like(circuit.tables), **one))
    assert constant.num_luts == 0
    assert_equal(constant, inputs(circuit, 5), fixed_point_words(constant), tmp_path)


@icarus
def test_a_code_of_one_level_compares_nothing(tmp_path):
    circuit = random_circuit(0)
    alone = replace(circuit, thresholds=circuit.thresholds[:, :0], codebook=circuit.codebook[1:2])
    for same in (alone, simplify(alone)[0]):
        words = fixed_point_words(same)
        assert estimate_cost(same, words).encoder == 0
        assert_equal(same, inputs(circuit, 5), words, tmp_path)


def test_a_design_replaces_a_deeper_one_and_leaves_other_files_alone(tmp_path):
    for depth in (12, 2):
        circuit = random_circuit(0, depth=depth)
        (tmp_path / "layer_mine.v").touch()
        design = write_verilog(circuit, tmp_path, fixed_point_words(circuit))
    assert {path.name for path in tmp_path.iterdir()} == {*design.files, "layer_mine.v"}
