import subprocess
import sys
from dataclasses import fields

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


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("circuit") / "circuit.npz"
    Circuit.from_model(network()).save(path)
    return path


def assert_damaged(path):
    with pytest.raises(ValueError, match=rf"{path.name}: damaged or not a circuit; export the run again$"):
        Circuit.load(path)


@pytest.mark.parametrize("name", [field.name for field in fields(Circuit)])
def test_a_circuit_without_one_of_its_arrays_is_damaged(saved, tmp_path, name):
    np.savez(tmp_path / "damaged.npz", **{key: array for key, array in np.load(saved).items() if key != name})
    assert_damaged(tmp_path / "damaged.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [("wiring", 3), ("tables", 0.5), ("tau", [1, 2]), ("tau", "one"), ("format", [2, 2]), ("more", 1)],
)
def test_a_circuit_with_a_strange_array_is_damaged(saved, tmp_path, name, value):
    np.savez(tmp_path / "damaged.npz", **{**np.load(saved), name: value})
    assert_damaged(tmp_path / "damaged.npz")


def test_a_file_that_is_no_archive_of_arrays_is_damaged(saved, tmp_path):
    damaged, whole = tmp_path / "damaged.npz", saved.read_bytes()
    for content in (b"no circuit", whole[: len(whole) // 2], b""):
        damaged.write_bytes(content)
        assert_damaged(damaged)
    with damaged.open("wb") as file:
        np.save(file, np.arange(3))
    assert_damaged(damaged)


# Of the first entry, as offsets from the signature in the archive's directory: flags, method, where it begins.
@pytest.mark.parametrize(("offset", "value"), [(8, b"\x01\x00"), (10, b"\x07\x00"), (42, b"\xff\xff\xff\x7f")])
def test_an_archive_that_cannot_be_read_is_damaged(saved, tmp_path, offset, value):
    content = bytearray(saved.read_bytes())
    start = content.index(b"PK\x01\x02") + offset
    content[start : start + len(value)] = value
    (tmp_path / "damaged.npz").write_bytes(content)
    assert_damaged(tmp_path / "damaged.npz")


def test_no_changed_byte_is_another_error(saved, tmp_path):
    damaged, whole, random = tmp_path / "damaged.npz", saved.read_bytes(), np.random.default_rng(0)
    for position in random.integers(len(whole), size=500):
        content = bytearray(whole)
        content[position] ^= 1 << random.integers(8)
        damaged.write_bytes(content)
        try:
            Circuit.load(damaged)  # some bytes say nothing
        except ValueError as error:
            assert str(error).startswith(f"{damaged}: ")


def test_a_circuit_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        Circuit.load(tmp_path / "nowhere.npz")


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
