import pytest

from difflut.circuits.engine import Engine
from difflut.config import ConfigurationError
from difflut.registry import ENCODERS, NODES
from difflut.training import Trainer
from experiments.shared.failures import MismatchError
from experiments.verification.networks import IMAGES, known_wirings
from experiments.verification.verify import verify

SMALL = {"features": 10, "samples": 64}


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_wiring_and_encoder_is_its_circuit(node, capsys):
    dense = [wiring for wiring in known_wirings() if wiring not in IMAGES]
    networks = len(dense) * len(ENCODERS)
    assert verify("digits", nodes=[node], wirings=dense, back_ends=["numpy", "engine"], **SMALL) == networks
    assert f"{networks} networks, 64 samples, 0 mismatches" in capsys.readouterr().out


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_is_its_circuit_at_the_windows_of_an_image(node, capsys):
    names = {"nodes": [node], "wirings": IMAGES, "encoders": ["thermometer"]}
    assert verify("digits", back_ends=["numpy", "engine"], **names, **SMALL) == 5
    assert "5 networks, 64 samples, 0 mismatches" in capsys.readouterr().out


TRAINED = {"features": 16, "samples": 300, "epochs": 2, "encoders": ["thermometer"], "back_ends": ["numpy"]}


@pytest.mark.parametrize("node", NODES)
def test_a_training_that_was_interrupted_gives_the_same_network(node, capsys):
    assert verify("digits", nodes=[node], wirings=["convolution", "skip"], **TRAINED) == 2
    assert "2 networks, 300 samples, 0 mismatches in resumed training, numpy" in capsys.readouterr().out


def test_a_training_that_goes_on_otherwise_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(Trainer, "load_state_dict", lambda self, state: None)
    with pytest.raises(MismatchError, match="mismatches in 1 networks"):
        verify("digits", nodes=["hybrid"], wirings=["convolution"], **TRAINED)
    assert "hybrid convolution thermometer: resumed training: " in capsys.readouterr().out


def test_a_mismatch_is_a_failure_after_all_networks_were_compared(monkeypatch, capsys):
    monkeypatch.setattr(Engine, "logits", lambda self, x: self.circuit(x) + (x.sum(1, keepdims=True) > x.mean()))
    names = {"nodes": ["dwn", "difflogic"], "wirings": ["random"], "encoders": ["thermometer"]}
    with pytest.raises(MismatchError, match="mismatches in 2 networks"):
        verify("digits", back_ends=["numpy", "engine"], **names, **SMALL)
    output = capsys.readouterr().out
    assert "dwn random thermometer: engine: " in output and "difflogic random thermometer: engine: " in output


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"nodes": ["dwn", "dnw"]}, "verify.nodes: there is no 'dnw'; known: .*dwn"),
        ({"wirings": ["top-9"]}, "verify.wirings: .*learnable, .*random, .*soft, top-8, convolution"),
        ({"encoders": ["grey"]}, "verify.encoders: .*gray"),
        ({"back_ends": ["vhdl"]}, "verify.back_ends: .*numpy, engine, C, Verilog"),
        ({"back_ends": []}, "verify.back_ends must be a list of at least one item"),
        ({"samples": 0}, "verify.samples must be a whole number, 1 or more; got 0"),
        ({"features": -1}, "verify.features must be a whole number, 1 or more; got -1"),
        ({"simulated_samples": 0}, "verify.simulated_samples must be"),
        ({"back_ends": ["C"], "simulated_samples": 7}, 'verify.simulated_samples = 7 has no effect without "Verilog"'),
        ({"epochs": -1}, "verify.epochs must be a whole number, 0 or more; got -1"),
        ({"n": 20}, "verify.n must be a whole number, 1 to 8; got 20"),
        ({}, "no such data set"),
        ({"simulator": "modelsim"}, "verify.simulator: .*verilator, iverilog"),
    ],
)
def test_what_cannot_be_verified_is_refused_before_any_work(wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        verify("no such data set", **wrong)


@pytest.mark.parametrize(
    ("back_end", "said"),
    [("C", "no C compiler found"), ("Verilog", "no Verilog simulator found; apt ")],
)
def test_a_tool_that_is_missing_is_told_before_any_work(monkeypatch, back_end, said):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigurationError, match=said):
        verify("no such data", back_ends=[back_end])
