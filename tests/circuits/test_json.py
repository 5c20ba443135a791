import json
import struct

import numpy as np
import pytest

from difflut.circuits import write_json
from tests.circuits.networks import random_circuit


def test_thresholds_are_the_same_floats_when_read(tmp_path):
    circuit = random_circuit(3)
    content = json.loads(write_json(circuit, tmp_path / "circuit.json").read_text())
    for written, threshold in zip(np.ravel(content["thresholds"]).tolist(), circuit.thresholds.ravel(), strict=True):
        assert struct.pack("f", written) == threshold.tobytes()


def test_infinite_thresholds_are_refused(tmp_path):
    circuit = random_circuit(3)
    circuit.thresholds[0, -1] = np.inf
    with pytest.raises(ValueError, match="a threshold is infinite"):
        write_json(circuit, tmp_path / "circuit.json")
