import subprocess
import sys

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
    thresholds = model.encoder.thresholds.T
    near = [thresholds, *(thresholds.nextafter(torch.tensor(side)) for side in (-9.0, 9.0))]
    x[: 3 * len(thresholds)] = torch.cat(near)
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
    whole = (tmp_path / "circuit.npz").read_bytes()
    for content in (b"no circuit", whole[: len(whole) // 2], b""):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged\.npz: damaged or not a circuit"):
            Circuit.load(tmp_path / "damaged.npz")


def test_a_saved_circuit_needs_no_torch(tmp_path):
    Circuit.from_model(network()).save(tmp_path / "circuit.npz")
    program = """
import sys
sys.modules["torch"] = None  # importing it is an error
import numpy as np
from difflut.circuits import *
circuit, _ = simplify(Circuit.load("circuit.npz"))
print(circuit.classes(np.zeros((2, 5))).shape, fixed_point_words(circuit))
write_c(circuit, "circuit.c")
write_verilog(circuit, "verilog", fixed_point_words(circuit))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.startswith("(2,) features are words of"), result.stderr


def test_what_is_no_circuit_is_named():
    with pytest.raises(ValueError, match="no GroupSum"):
        Circuit.from_model(LUTNetwork(None, [LAYERS["random"](4, 4, NODES["dwn"], n=2)]))
    model = network()
    model.encoder = ENCODERS["gray"](num_bits=4)
    with pytest.raises(ValueError, match="Gray is not fitted"):
        Circuit.from_model(model)
