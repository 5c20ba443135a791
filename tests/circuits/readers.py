"""Files of formats, read by other tools: from a file and the bits of its input words to counts and classes."""

import json
import subprocess

import numpy as np

from difflut.circuits.tools.prove import find_abc
from difflut.circuits.tools.synthesis import run_yosys

TESTBENCH = """\
library ieee;
use ieee.std_logic_1164.all;
use std.textio.all;

entity testbench is end entity;

architecture test of testbench is
    signal x : std_logic_vector({inputs} - 1 downto 0);
    signal counts : std_logic_vector({counts} - 1 downto 0);
    signal winner : std_logic_vector({label} - 1 downto 0);
begin
    network : entity work.{name} port map (x, counts, winner);

    process
        file rows : text open read_mode is "rows.txt";
        file results : text open write_mode is "results.txt";
        variable row, result : line;
        variable bits : bit_vector(x'range);
    begin
        while not endfile(rows) loop
            readline(rows, row);
            read(row, bits);
            x <= to_stdlogicvector(bits);
            wait for 1 ns;
            write(result, to_bitvector(counts & winner));
            writeline(results, result);
        end loop;
        wait;
    end process;
end architecture;
"""


def by_abc(path, circuit, words, x):
    copy = path.with_suffix(".copy.blif")
    subprocess.run([find_abc(), "-q", f"read {path}; write_blif {copy}"], check=True, capture_output=True)
    return _blif(copy, circuit, words, x)


def by_yosys(path, circuit, words, x):
    copy = path.with_suffix(".copy.blif")
    reader = "read_blif" if path.suffix == ".blif" else "read_aiger -module_name top"
    run_yosys(f"{reader} {path}\nwrite_blif {copy}\n")
    return _blif(copy, circuit, words, x)


def by_onnxruntime(path, circuit, words, x):
    import onnxruntime

    logits, classes = onnxruntime.InferenceSession(path).run(None, {"x": x.astype(np.float32)})
    np.testing.assert_array_equal(logits, circuit(x))
    return np.rint(logits * np.float32(circuit.tau)).astype(int), classes


def by_ghdl(path, circuit, words, x):
    folder, bits = path.parent, _bits(words, x)
    counts, label = _widths(circuit)
    text = TESTBENCH.format(name=path.stem, inputs=bits.shape[1], counts=counts * circuit.num_classes, label=label)
    (folder / "testbench.vhd").write_text(text)
    (folder / "rows.txt").write_text("".join(f"{_digits(row[::-1])}\n" for row in bits))
    for step in (["-a", path.name, "testbench.vhd"], ["-e", "testbench"],
                 ["-r", "testbench", "--ieee-asserts=disable-at-0"]):  # fmt: skip
        subprocess.run(["ghdl", *step], cwd=folder, check=True, capture_output=True)
    rows = (folder / "results.txt").read_text().split()
    found = np.array([[digit == "1" for digit in row] for row in rows])
    return _numbers(found[:, :-label][:, ::-1], found[:, -label:][:, ::-1], circuit)


def by_its_rules(path, circuit, words, x):
    content = json.loads(path.read_text())
    assert content["tau"] == circuit.tau
    counts = np.array([_json_counts(content, row) for row in x.astype(np.float32).tolist()])
    return counts, counts.argmax(1)


def _json_counts(content, row):
    """The counts of one row, by the rules that the file states."""
    signals = []
    if "sums" in content:
        values = list(row)
        for one in content["sums"]:
            pairs = zip(one["adds"], one["weights"], strict=True)
            values.append(sum(weight * values[value] for value, weight in pairs))
        row = [values[value] for value in content["compared"]]
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


def _blif(path, circuit, words, x):
    """Evaluates a file of tables alone."""
    bits = _bits(words, x)
    values = {f"x[{number}]": column for number, column in enumerate(bits.T)}
    lines = [line for line in path.read_text().replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    pending = []
    for line in lines:
        if line.startswith(".names"):
            pending.append((line.split()[1:], []))
        elif not line.startswith("."):
            pending[-1][1].append(line.split())
    while pending:
        ready = [one for one in pending if all(name in values for name in one[0][:-1])]
        assert ready, f"{pending[0]} has inputs that nothing gives"
        for (*names, output), rows in ready:
            holds, says = np.zeros(len(x), bool), True
            for *pattern, value in rows:
                says = value == "1"
                pairs = [(name, digit) for name, digit in zip(names, "".join(pattern), strict=True) if digit != "-"]
                holds |= np.all([values[name] == (digit == "1") for name, digit in pairs] or [np.ones(len(x), bool)], 0)
            values[output] = holds == says
        pending = [one for one in pending if one[0][-1] not in values]
    counts, label = _widths(circuit)
    sums = np.column_stack([values[f"counts[{bit}]"] for bit in range(counts * circuit.num_classes)])
    return _numbers(sums, np.column_stack([values[f"winner[{bit}]"] for bit in range(label)]), circuit)


def _widths(circuit):
    """Bits of a count and of a class."""
    return max(int(circuit.max_counts.max()).bit_length(), 1), max((circuit.num_classes - 1).bit_length(), 1)


def _bits(words, x):
    return (words(x)[..., None] >> np.arange(words.width) & 1).astype(bool).reshape(len(x), -1)


def _digits(bits):
    return "".join("01"[bit] for bit in bits.astype(int))


def _numbers(sums, label, circuit):
    """Bits, the lowest first, to counts and classes."""
    sums = sums.reshape(len(sums), circuit.num_classes, -1)
    return sums @ (1 << np.arange(sums.shape[2])), label @ (1 << np.arange(label.shape[1]))
