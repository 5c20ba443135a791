import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from difflut.circuits import Circuit
from difflut.circuits.circuit.files import write_arrays
from difflut.models import LUTNetwork
from difflut.registry import ENCODERS, LAYERS, NODES
from tests.circuits.networks import network, random_circuit
from tests.layers.making import WIRED


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


@pytest.mark.parametrize("layer", WIRED)
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
    with pytest.raises(ValueError, match="not a circuit of format 3"):
        Circuit.load(tmp_path / "other.npz")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("circuit") / "circuit.npz"
    Circuit.from_model(network()).save(path)
    return path


def assert_damaged(path, reason=""):
    expected = rf"^{path}: damaged, or not a circuit of format 3; export the run again \(.*{reason}.*\)$"
    with pytest.raises(ValueError, match=expected):
        Circuit.load(path)


@pytest.mark.parametrize("name", [field.name for field in fields(Circuit) if field.name != "sums"])
def test_a_circuit_without_one_of_its_arrays_is_damaged(saved, tmp_path, name):
    arrays = {key: array for key, array in np.load(saved).items() if key != name}
    write_arrays(tmp_path / "damaged.npz", arrays)
    assert_damaged(tmp_path / "damaged.npz", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wiring", 3),
        ("tables", 0.5),
        ("tau", [1, 2]),
        ("tau", "one"),
        ("tau", np.nan),
        ("format", [2, 2]),
        ("format", 2),
        ("layers", "one"),
        ("more", 1),
    ],
)
def test_a_circuit_with_a_strange_array_is_damaged(saved, tmp_path, name, value):
    write_arrays(tmp_path / "damaged.npz", {**np.load(saved), name: value})
    assert_damaged(tmp_path / "damaged.npz")


def test_every_bit_of_a_file_matters(saved, tmp_path):
    damaged, whole, random = tmp_path / "damaged.npz", saved.read_bytes(), np.random.default_rng(0)
    ends = [*range(64), *range(len(whole) - 128, len(whole))]
    for position in [*ends, *random.integers(len(whole), size=500).tolist()]:
        content = bytearray(whole)
        content[position] ^= 1 << random.integers(8)
        damaged.write_bytes(content)
        assert_damaged(damaged, "its digest is not that of its content")
    for content in (b"no circuit", whole[: len(whole) // 2], b"", whole + b"\0"):
        damaged.write_bytes(content)
        assert_damaged(damaged, "its digest is not that of its content")


def test_a_saved_circuit_is_an_archive_that_numpy_reads(saved):
    assert np.load(saved)["wiring"].shape == (70, 2)


def test_the_disk_that_is_full_is_named_with_the_file():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        Circuit.from_model(network()).save("/dev/full")


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


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"thresholds": np.zeros((4, 3))[0]}, r"thresholds must be \(features, K\) floats, got float64 \(3,\)"),
        ({"thresholds": np.array([[1, 2, 3]] * 3 + [[1, np.nan, 3]])}, "thresholds of feature 3 are NaN"),
        ({"thresholds": np.array([[1.0, 2, 3], [1, 0, 3]] * 2)}, "thresholds of feature 1 descend"),
        ({"codebook": np.zeros((3, 3), bool)}, r"codebook must be \(4, bits\) booleans, got bool \(3, 3\)"),
        ({"codebook": np.zeros((4, 3))}, r"codebook must be \(4, bits\) booleans, got float64"),
        ({"wiring": np.zeros((90, 4))}, r"wiring must be \(luts, n\) integers, got float64"),
        ({"wiring": np.zeros((90, 5), int)}, r"tables must be \(tables, 32\) booleans for n=5 inputs, got bool"),
        ({"wiring": np.full((90, 4), -2)}, r"LUT 0 of layer 0 reads \[-2, -2, -2, -2\]; .* 0 to 11, or -1"),
        ({"wiring": np.full((90, 4), 12)}, r"LUT 0 of layer 0 reads \[12, 12, 12, 12\]"),
        ({"table_of": np.zeros(89, int)}, r"table_of must be \(90,\) integers, got int64 \(89,\)"),
        ({"table_of": np.full(90, 1000)}, r"table_of\[0\] is 1000, but there are \d+ tables"),
        ({"layers": np.arange(90)[::-1]}, "layers must ascend from 0 on, LUT 1 is of layer 88"),
        ({"layers": np.arange(90) - 3}, "layers must ascend from 0 on, LUT 0 is of layer -3"),
        ({"outputs": np.arange(20) + 90}, r"outputs\[12\] is 102, but there are 102 signals"),
        ({"inverted": np.zeros(19, bool)}, r"inverted must be \(20,\) booleans"),
        ({"groups": np.full(20, 3)}, r"groups\[0\] is 3, but there are 3 classes"),
        ({"groups": np.full(20, -1)}, r"groups\[0\] is -1, but there are 3 classes"),
        ({"bias": np.zeros(0, int)}, "bias has no entry, but a circuit has at least one class"),
        *[({"tau": tau}, f"tau={tau} must be positive and finite") for tau in (0.0, -1.5, np.nan, np.inf)],
    ],
)
def test_arrays_that_are_no_circuit_are_refused_by_name(changes, error):
    with pytest.raises(ValueError, match=error):
        replace(random_circuit(0), **changes)


def test_a_table_that_depends_on_an_input_that_is_missing_is_refused():
    circuit = random_circuit(0)
    lut = np.flatnonzero(circuit.wiring[:, 2] < 0)[0]
    tables = circuit.tables.copy()
    tables[circuit.table_of[lut], 5] ^= True
    with pytest.raises(ValueError, match=rf"table {circuit.table_of[lut]} depends on address bit \d, for which a LUT"):
        replace(circuit, tables=tables)


def test_a_lut_of_the_same_layer_may_not_be_read():
    circuit = random_circuit(0)
    wiring = circuit.wiring.copy()
    wiring[60, 0] = 12 + 60
    with pytest.raises(ValueError, match=r"LUT 60 of layer 2 reads \[72, .* signals of lower layers, 0 to 71"):
        replace(circuit, wiring=wiring)
