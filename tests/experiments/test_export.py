import json
import shutil

import numpy as np
import pytest
import torch

from difflut import circuits, config
from difflut.circuits import Circuit, CompiledCircuit
from difflut.models import load_checkpoint
from experiments.data import load_dataset
from experiments.export import MismatchError, export


def test_every_back_end_agrees_with_the_network(finished_run, capsys):
    simulator = "iverilog" if shutil.which("iverilog") else "none"
    report = export(str(finished_run), simulated_samples=20, simulator=simulator)
    output = capsys.readouterr().out
    x = load_dataset("digits").x_test
    assert f"numpy: {len(x)} samples compared, 0 mismatches" in output
    if shutil.which("cc"):
        assert f"C: {len(x)} samples compared, 0 mismatches" in output
    if simulator == "iverilog":
        assert "Verilog (iverilog): 20 samples compared, 0 mismatches" in output
    assert json.loads((finished_run / "export" / "report.json").read_text()) == report
    with torch.no_grad():
        logits = load_checkpoint(finished_run / "best.pt")(x).numpy()
    np.testing.assert_array_equal(Circuit.load(finished_run / "export" / "circuit.npz")(x.numpy()), logits)
    assert (finished_run / "export" / "verilog" / "circuit.v").exists()


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler (cc)")
def test_a_mismatch_is_a_failure_that_names_the_first_sample(finished_run, monkeypatch, tmp_path):
    right = CompiledCircuit.counts_and_classes

    def wrong(self, x):
        counts, classes = right(self, x)
        classes[5] += 1
        return counts, classes

    monkeypatch.setattr(CompiledCircuit, "counts_and_classes", wrong)
    with pytest.raises(MismatchError, match="in 1 of 360 samples, first in 5"):
        export(str(finished_run), str(tmp_path), simulator="none")


def test_luts_are_counted_and_the_netlist_is_proven(finished_run, tmp_path, capsys):
    pytest.importorskip("pyosys", reason="no pyosys; pip install pyosys")
    report = export(str(finished_run), str(tmp_path), simulator="none", yosys=True, prove=True, pipeline=["layer1"])
    counts = report["yosys"]
    assert 0 < counts["after"]["core"]["luts"] <= counts["before"]["core"]["luts"]
    assert counts["after"]["encoder"]["luts"] > 0 and report["latency"] == 1
    assert "netlist and circuit: equivalent" in capsys.readouterr().out
    assert "0 | " in (tmp_path / "export.md").read_text()
    assert (tmp_path / "luts.png").exists() and (tmp_path / "circuit.svg").exists()


def test_what_is_missing_is_said_and_not_a_failure(finished_run, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    report = export(str(finished_run), str(tmp_path), simulated_samples=5)
    assert report["checks"]["c"] is None and report["checks"]["verilog"] is None
    assert "no C compiler found" in capsys.readouterr().out


def test_a_proof_that_takes_too_long_leaves_the_report(finished_run, tmp_path, monkeypatch, capsys):
    def slow(circuit, words):
        raise TimeoutError("no proof within 600 s")

    monkeypatch.setattr(circuits, "prove", slow)
    report = export(str(finished_run), str(tmp_path), simulator="none", prove=True)
    assert report["proof"] is None and "proof: not done: no proof within 600 s" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text()) == report and (tmp_path / "export.md").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"place": True, "pipeline": False}, "export.place needs registers"),
        ({"simulator": "modelsim"}, "export.simulator: there is no 'modelsim'; known: verilator, iverilog, auto, none"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(finished_run, tmp_path, wrong, said):
    with pytest.raises(config.ConfigurationError, match=said):
        export(str(finished_run), str(tmp_path / "new"), **wrong)
    assert not (tmp_path / "new").exists()
