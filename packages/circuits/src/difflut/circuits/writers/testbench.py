"""A testbench beside the design: inputs, what they are expected to give, and how simulators run it."""

import shlex

import numpy as np

from difflut.circuits.writers.verilog import Design

# Without optimisation C++ compilers take seconds instead of minutes.
BUILD = {
    "verilator": ["verilator", "--binary", "-Wno-fatal", "-MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
                  "--top-module", "testbench"],
    "iverilog": ["iverilog", "-g2005", "-s", "testbench", "-o", "simulation"],
}  # fmt: skip
RUN = {"verilator": ["obj_dir/Vtestbench"], "iverilog": ["vvp", "-n", "simulation"]}
SIMULATORS = tuple(BUILD)
TESTBENCH = """\
// Gives each line of inputs.hex to the circuit and compares {{{results}}} with the same line of expected.hex.
// In this folder: {iverilog}
//             or: {verilator}
// It prints RESULT, the samples, how many differ (0), and the first that does (-1 if none).
module testbench;
    reg clk = 0;
    reg [{inputs}-1:0] x;
{wires}    wire [{label}-1:0] winner;
    reg [{inputs}-1:0] inputs [0:{samples}-1];
    reg [{counts}+{label}-1:0] expected [0:{samples}-1];
    integer i, mismatches, first;

    {prefix}circuit circuit_ ({ports});

    initial begin
        $readmemh("inputs.hex", inputs);
        $readmemh("expected.hex", expected);
        mismatches = 0;
        first = -1;
        for (i = 0; i < {samples} + {latency}; i = i + 1) begin
            x = inputs[i < {samples} ? i : {samples} - 1];
            #1;
            if (i >= {latency} && {{{results}}} !== expected[i - {latency}]) begin
                if (first < 0) first = i - {latency};
                mismatches = mismatches + 1;
            end
            clk = 1;
            #1;
            clk = 0;
            #1;
        end
        $display("RESULT %0d %0d %0d", {samples}, mismatches, first);
        $finish;
    end
endmodule
"""


def write_testbench(design: Design, x: np.ndarray, counts: np.ndarray, classes: np.ndarray) -> None:
    """Writes testbench.v, inputs.hex and expected.hex beside the design.

    Args:
        x: Inputs `(samples, *features)`, one at least.
        counts: Counts that are expected: `(samples, classes)`.
        classes: `(samples,)`.

    Raises:
        ValueError: There are no samples.
    """
    if not len(x):
        raise ValueError("a testbench needs at least one sample, got 0")
    words, results = design.words(x), ["winner", *["counts"] * (design.count_width > 0)]
    inputs, sums = words.shape[1] * design.words.width, counts.shape[1] * design.count_width
    expected = np.hstack([in_bits(counts, design.count_width), in_bits(classes[:, None], design.index_width)])
    (design.folder / "inputs.hex").write_text(hexadecimal(in_bits(words, design.words.width)), encoding="utf-8")
    (design.folder / "expected.hex").write_text(hexadecimal(expected), encoding="utf-8")
    text = TESTBENCH.format(
        inputs=inputs,
        counts=sums,
        label=design.index_width,
        prefix=design.prefix,
        samples=len(x),
        latency=design.latency,
        results=", ".join(results),
        wires=f"    wire [{sums}-1:0] counts;\n" * (sums > 0),
        ports=", ".join(f".{name}({name})" for name in [*["clk"] * (design.latency > 0), "x", *results]),
        **{simulator: command(simulator) for simulator in SIMULATORS},
    )
    (design.folder / "testbench.v").write_text(text, encoding="utf-8")


def command(simulator: str) -> str:
    """What to type, in the folder of the design."""
    return f"{shlex.join(BUILD[simulator])} *.v && {shlex.join(RUN[simulator])}"


def in_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Integers `(rows, n)` to `(rows, n * width)` bits, the lowest first."""
    return (values[..., None] >> np.arange(width) & 1).astype(bool).reshape(len(values), values.shape[1] * width)


def hexadecimal(bits: np.ndarray) -> str:
    """A line a row, the highest digit first, as many digits as the bits need."""
    padded, digits = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))), -(-bits.shape[1] // 4)
    return "".join(f"{row.tobytes().hex()[-digits:]}\n" for row in np.packbits(padded[:, ::-1], axis=1))
