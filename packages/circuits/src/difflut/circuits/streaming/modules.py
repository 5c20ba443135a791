"""The text of the Verilog modules of a stream that follow from the network."""

import math
from collections.abc import Sequence

import numpy as np

from difflut.circuits.arithmetic.head import index_width
from difflut.circuits.arithmetic.pipeline import pipeline
from difflut.circuits.arithmetic.tables import Tables
from difflut.circuits.passes.split import split
from difflut.circuits.streaming.encoder import PixelEncoder
from difflut.circuits.streaming.memory import Memory, add_constants
from difflut.circuits.streaming.network import Kernel, Stream
from difflut.circuits.streaming.responses import Sums, sum_tables
from difflut.circuits.writers.modules import (
    CLOCK,
    ONE,
    ZERO,
    concatenation,
    literal,
    lut_lines,
    module,
    table_lines,
    together,
    vector,
)

STREAM = ["input s_last", "input s_valid", "output s_ready"]
CLOCKED = [CLOCK, "input reset"]


def bits(number: int) -> int:
    """Bits of a counter to below a number."""
    return max((number - 1).bit_length(), 1)


def sums(one: Sums, levels: int) -> dict[str, tuple[str, int]]:
    """Words of a window to those of its sums, in modules of so many levels of tables, one behind the other.

    Returns:
        The text of each module, and the bits that it gives.
    """
    tables, outputs = sum_tables(one)
    staged, width = pipeline(tables, outputs, levels), one.width * math.prod(one.placements.kernel)
    made: dict[str, tuple[str, int]] = {}
    names: dict[str, str] = {}
    for number, (cells, gives) in enumerate(zip(staged.stages, [*staged.passed, outputs], strict=True), start=1):
        name, flat = f"{one.name}{number}", [table for cell in cells for table in cell.tables]
        lines = [line for table in flat for line in table_lines(table, names)]
        lines.append(together([literal(bit, names) for bit in gives]))
        made[name] = module(name, [vector("input", width, "s"), vector("output", len(gives), "y")], lines), len(gives)
        width, names = len(gives), {bit: f"s[{index}]" for index, bit in enumerate(gives)}
    return made


def encoder(encoded: PixelEncoder) -> str:
    """Words of a pixel, and what the memory has for it, to bits."""
    lines = [line for table in encoded.tables.flat for line in table_lines(table, {})]
    lines.append(together([literal(output, {}) for output in encoded.outputs]))
    memory = encoded.memory.shape[1]
    ports = [vector("input", encoded.inputs, "x"), *[vector("input", memory, "t")] * (memory > 0)]
    return module("encoder", [*ports, vector("output", len(encoded.outputs), "y")], lines)


def thresholds(memory: np.ndarray) -> str:
    """The memory's word of the next pixel, from the reset on; `(pixels, bits)`."""
    pixels, width = memory.shape
    at = bits(pixels)
    lines = [
        f"reg [{at - 1}:0] at;",
        f"wire [{at - 1}:0] next = reset ? 0 : !step ? at : at == {pixels - 1} ? 0 : at + 1;",
        "always @(posedge clk) at <= next;",
    ]
    if Memory(pixels, width, constant=True).in_blocks:
        lines += [
            f'(* rom_style = "block" *) reg [{width - 1}:0] memory [0:{pixels - 1}];',
            "always @(posedge clk) t <= memory[next];",
            "initial begin",
            *(f"    memory[{pixel}] = {width}'h{_number(word):x};" for pixel, word in enumerate(memory)),
            "end",
        ]
    else:
        tables, outputs = threshold_tables(memory)
        lines += [line for table in tables.flat for line in table_lines(table, {})]
        word = concatenation([literal(output, {}) for output in outputs])
        lines.append(f"always @(posedge clk) t <= {word};")
    return module("thresholds", [*CLOCKED, "input step", f"output reg [{width - 1}:0] t"], lines)


def threshold_tables(memory: np.ndarray) -> tuple[Tables, list[str]]:
    """The memory's word at the address `next`, from tables."""
    tables = Tables("t")
    return tables, add_constants(tables, memory, [f"next[{place}]" for place in range(bits(len(memory)))])


def _number(bits: np.ndarray) -> int:
    return int("".join("01"[bit] for bit in bits[::-1].astype(int)), 2)


def kernel(name: str, one: Kernel) -> str:
    """Bits of a window to those of a pixel."""
    circuit, (high, wide) = split(one.circuit), one.placements.kernel
    place = {channel: number for number, channel in enumerate(window_channels(one))}
    names = {}
    for signal in circuit.read_inputs().tolist():
        channel, at = divmod(signal, high * wide)
        names[signal] = f"s[{at * len(place) + place[one.sources[channel]]}]"
    lines = lut_lines(circuit, slice(0, circuit.num_luts), names)
    values = [ONE if bias else ZERO for bias in circuit.bias.tolist()]
    for signal, inverted, channel in zip(
        circuit.outputs.tolist(), circuit.inverted.tolist(), circuit.groups.tolist(), strict=True
    ):
        values[channel] = "~" * inverted + names[signal]
    lines.append(together(values))
    ports = [vector("input", len(place) * high * wide, "s"), vector("output", len(values), "y")]
    return module(name, ports, lines)


def window_channels(one: Kernel) -> list[tuple[Stream, int]]:
    """Stream and channel of each bit of a pixel that the kernel's window holds."""
    return [(stream, channel) for stream, channels in one.reads.items() for channel in channels]


def frame(name: str, channels: int, reads: Sequence[Sequence[int]]) -> str:
    """Keeps what is read of an image until it is taken: of each pixel some channels."""
    pixels, size = len(reads), sum(map(len, reads))
    at, lines, start = bits(pixels), [], 0
    for pixel, read in enumerate(reads):
        if read:
            kept = concatenation([f"s_data[{channel}]" for channel in read])
            lines.append(f"    {pixel}: y[{start} +: {len(read)}] <= {kept};")
            start += len(read)
    lines = [
        "assign s_ready = !full || taken;",
        f"reg [{at - 1}:0] at;",
        "wire step = s_valid && s_ready;",
        "always @(posedge clk) if (step) case (at)",
        *lines,
        "endcase",
        "always @(posedge clk)",
        "    if (reset) {full, at} <= 0;",
        "    else begin",
        "        if (step) at <= s_last ? 0 : at + 1;",
        "        if (taken || step) full <= step && s_last;",
        "    end",
    ]
    ports = [*CLOCKED, vector("input", channels, "s_data"), *STREAM]
    ports += [f"output reg [{size - 1}:0] y", "output reg full", "input taken"]
    return module(name, ports, lines)


def head(inputs: int, classes: int, latency: int) -> str:
    """The class of the images, one at a time."""
    label = index_width(classes)
    lines = [
        vector("wire", label, "winner") + ";",
        "core core_ (.clk(clk), .reset(reset), .start(s_valid && s_ready), .s(s), .winner(winner));",
        f"reg [{bits(latency + 1) - 1}:0] left;",
        "assign s_ready = left == 0 && (!m_valid || m_ready);",
        "always @(posedge clk)",
        "    if (reset) {left, m_valid} <= 0;",
        "    else begin",
        f"        left <= s_valid && s_ready ? {latency} : left - (left != 0);",
        "        if (left == 1) {m_valid, m_data} <= {1'b1, winner};",
        "        else if (m_ready) m_valid <= 0;",
        "    end",
    ]
    ports = [*CLOCKED, vector("input", inputs, "s"), "input s_valid", "output s_ready"]
    ports += [f"output reg [{label - 1}:0] m_data", "output reg m_valid", "input m_ready"]
    return module("head", ports, lines)
