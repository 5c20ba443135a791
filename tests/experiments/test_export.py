import json
import shutil

import numpy as np
import pytest
import torch

import experiments  # noqa: F401
from difflut import config
from difflut.circuits import Circuit, CompiledCircuit
from difflut.models import load_checkpoint
from experiments.data import load_dataset
from experiments.export import MismatchError, export

TRAIN = """
run.job = @train
train.network = @network
train.optimizer = @optimizers.adam
train.epochs = 1
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@layers.random]
layers.random.node_type = @nodes.dwn
layers.random.output_size = 60
nodes.dwn.input_dim = 4
tracking.mode = "disabled"
dataset.name = "digits"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    file = folder / "train.gin"
    file.write_text(TRAIN + f'train.runs = "{folder}/runs"\n')
    config.parse([str(file)], [])
    config.run()
    (made,) = (folder / "runs").iterdir()
    return made


def test_every_back_end_agrees_with_the_network(run, capsys):
    simulator = "iverilog" if shutil.which("iverilog") else "none"
    report = export(str(run), simulated_samples=20, simulator=simulator)
    output = capsys.readouterr().out
    x = load_dataset("digits").x_test
    assert f"numpy: {len(x)} samples compared, 0 mismatches" in output
    if shutil.which("cc"):
        assert f"C: {len(x)} samples compared, 0 mismatches" in output
    if simulator == "iverilog":
        assert "Verilog (iverilog): 20 samples compared, 0 mismatches" in output
    assert json.loads((run / "export" / "report.json").read_text()) == report
    with torch.no_grad():
        logits = load_checkpoint(run / "best.pt")(x).numpy()
    np.testing.assert_array_equal(Circuit.load(run / "export" / "circuit.npz")(x.numpy()), logits)
    assert (run / "export" / "verilog" / "circuit.v").exists()


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler (cc)")
def test_a_mismatch_is_a_failure_that_names_the_first_sample(run, monkeypatch, tmp_path):
    right = CompiledCircuit.counts_and_classes

    def wrong(self, x):
        counts, classes = right(self, x)
        classes[5] += 1
        return counts, classes

    monkeypatch.setattr(CompiledCircuit, "counts_and_classes", wrong)
    with pytest.raises(MismatchError, match="in 1 of 360 samples, first in 5"):
        export(str(run), str(tmp_path), simulator="none")


def test_luts_are_counted_and_the_netlist_is_proven(run, tmp_path, capsys):
    pytest.importorskip("pyosys", reason="no pyosys; pip install pyosys")
    report = export(str(run), str(tmp_path), simulator="none", yosys=True, prove=True, pipeline=["layer1"])
    counts = report["yosys"]
    assert 0 < counts["after"]["core"]["luts"] <= counts["before"]["core"]["luts"]
    assert counts["after"]["encoder"]["luts"] > 0 and report["latency"] == 1
    assert "netlist and circuit: equivalent" in capsys.readouterr().out
    assert "0 | " in (tmp_path / "export.md").read_text()
    assert (tmp_path / "luts.png").exists() and (tmp_path / "circuit.svg").exists()


def test_what_is_missing_is_said_and_not_a_failure(run, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    report = export(str(run), str(tmp_path), simulated_samples=5)
    assert report["checks"]["c"] is None and report["checks"]["verilog"] is None
    assert "no C compiler found" in capsys.readouterr().out
