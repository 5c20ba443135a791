import json
import struct

import numpy as np
import pytest

from difflut.circuits import simplify, write_json
from tests.circuits.networks import inputs, random_circuit


def counts_of(content, row):
    """The counts of one row, by the rules that the file states, without the library."""
    signals = []
    for value, thresholds in zip(row, content["thresholds"], strict=True):
        level = sum(value > threshold for threshold in thresholds)
        signals += [int(bit) for bit in content["codebook"][level]]
    for lut in content["luts"]:
        address = sum(signals[signal] << place for place, signal in enumerate(lut["inputs"]))
        signals.append(int(lut["table"][address]))
    counts = list(content["bias"])
    for vote in content["votes"]:
        counts[vote["class"]] += signals[vote["signal"]] ^ vote["inverted"]
    return counts


@pytest.mark.parametrize("n", [1, 2, 4, 6])
@pytest.mark.parametrize("simplified", [False, True])
def test_an_independent_reader_counts_the_same(n, simplified, tmp_path):
    circuit = random_circuit(n, n=n)
    circuit = simplify(circuit)[0] if simplified else circuit
    content = json.loads(write_json(circuit, tmp_path / "circuit.json").read_text())
    x = inputs(circuit, 60).astype(np.float32)
    x[0, 0] = np.nan
    assert [counts_of(content, row) for row in x.tolist()] == circuit.counts(x).tolist()
    assert content["tau"] == circuit.tau and len(content["meaning"]) == 6


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
