from dataclasses import replace

import numpy as np
import pytest

from difflut.circuits import Circuit, fixed_point_words, pixel_words, simplify, write_aag, write_aig, write_vhdl
from difflut.registry import FORMATS
from tests.circuits import readers
from tests.circuits.networks import inputs, network, random_circuit

READERS = {
    "json": (readers.by_its_rules,),
    "aag": (readers.by_yosys, "pyosys"),
    "aig": (readers.by_abc, "pyosys"),
    "blif": (readers.by_yosys, "pyosys"),
    "onnx": (readers.by_onnxruntime, "onnx", "onnxruntime"),
    "vhd": (readers.by_ghdl, "ghdl"),
}
every_format = pytest.mark.parametrize(
    "ending", [pytest.param(ending, marks=pytest.mark.needs(*needs)) for ending, (_, *needs) in READERS.items()]
)


def assert_read_alike(ending, circuit, x, words, folder):
    path = FORMATS[ending](circuit, folder / f"net.{ending}", words)
    assert path == folder / f"net.{ending}"
    counts, classes = READERS[ending][0](path, circuit, words or fixed_point_words(circuit), x)
    np.testing.assert_array_equal(counts, circuit.counts(x))
    np.testing.assert_array_equal(classes, circuit.classes(x))


def test_every_format_has_a_reader():
    ours = {name for name, write in FORMATS.items() if write.__module__.startswith("difflut.")}
    assert set(READERS) == ours


@every_format
@pytest.mark.parametrize("n", [1, 4, 6, 8])
def test_other_tools_read_random_circuits(ending, n, tmp_path):
    circuit = random_circuit(n, n=n, classes=2 + n)
    x = inputs(circuit, 60)
    assert_read_alike(ending, circuit, x, None, tmp_path)
    assert_read_alike(ending, simplify(circuit)[0], x, fixed_point_words(circuit), tmp_path)


@every_format
def test_other_tools_read_what_reads_bits_and_what_reads_pixels(ending, tmp_path):
    rng = np.random.default_rng(0)
    assert_read_alike(ending, Circuit.from_model(network(encoder=None)), rng.random((40, 20)), None, tmp_path)
    circuit = random_circuit(2)
    circuit = replace(circuit, thresholds=np.sort(rng.uniform(-9, 300, (4, 3)), axis=1).astype(np.float32))
    x = rng.integers(256, size=(90, 4), dtype=np.uint8)
    assert_read_alike(ending, circuit, x, pixel_words(circuit), tmp_path)


@every_format
def test_other_tools_read_a_network_that_is_constant(ending, tmp_path):
    circuit = random_circuit(0)
    one = {"outputs": np.array([20]), "inverted": circuit.inverted[:1], "groups": circuit.groups[:1]}
    constant, _ = simplify(replace(circuit, tables=np.ones_like(circuit.tables), **one))
    assert_read_alike(ending, constant, inputs(circuit, 5), None, tmp_path)


@pytest.mark.needs("pyosys")
def test_both_forms_of_aiger_are_the_same_gates(tmp_path):
    circuit = random_circuit(3)
    header = write_aag(circuit, tmp_path / "net.aag").read_text().splitlines()[0]
    assert write_aig(circuit, tmp_path / "net.aig").read_bytes().splitlines()[0].decode() == "aig" + header[3:]


def test_no_entity_has_a_name_that_vhdl_does_not_take(tmp_path):
    with pytest.raises(ValueError, match="'my__net' is no name of a VHDL entity"):
        write_vhdl(random_circuit(0), tmp_path / "my__net.vhd")
