import numpy as np
import pytest
import torch

from difflut.circuits import Circuit
from difflut.models import LUTNetwork
from difflut.registry import ENCODERS, LAYERS, NODES
from tests.circuits.networks import network


def assert_equal(model, circuit, x):
    with torch.no_grad():
        logits = model(x)
    np.testing.assert_array_equal(circuit(x.numpy()), logits.numpy())
    np.testing.assert_array_equal(circuit.classes(x.numpy()), logits.argmax(1).numpy())


@pytest.mark.parametrize("node", NODES)
def test_every_node_type_is_its_circuit(node):
    model = network(node)
    assert_equal(model, Circuit.from_model(model), torch.randn(500, 5))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_is_its_circuit_at_odd_inputs_too(encoder):
    model = network(encoder=encoder)
    x = torch.randn(500, 5)
    x[:100] = model.encoder.thresholds[:, 0]
    x[100, 0], x[101, 1], x[102, 2] = float("nan"), float("inf"), -float("inf")
    assert_equal(model, Circuit.from_model(model), x)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_wiring_is_its_circuit_and_bits_need_no_encoder(layer):
    model = network(layer=layer, encoder=None)
    assert_equal(model, Circuit.from_model(model), torch.rand(500, 20).round())


def test_a_circuit_is_saved_and_loaded(tmp_path):
    circuit = Circuit.from_model(network())
    circuit.save(tmp_path / "circuit.npz")
    x = np.random.default_rng(0).normal(size=(200, 5))
    loaded = Circuit.load(tmp_path / "circuit.npz")
    np.testing.assert_array_equal(loaded(x), circuit(x))
    assert loaded.num_luts == circuit.num_luts == 70
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(ValueError, match="not a circuit of format 2"):
        Circuit.load(tmp_path / "other.npz")


def test_what_is_no_circuit_is_named():
    with pytest.raises(ValueError, match="no GroupSum"):
        Circuit.from_model(LUTNetwork(None, [LAYERS["random"](4, 4, NODES["dwn"], n=2)]))
    model = network()
    model.encoder = ENCODERS["gray"](num_bits=4)
    with pytest.raises(ValueError, match="Gray is not fitted"):
        Circuit.from_model(model)
