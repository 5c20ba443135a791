"""A circuit as synthesizable Verilog."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.comparisons import encoder_bits
from difflut.circuits.modules import argmax, encoder, group_sum, index_width, layer, module, vector
from difflut.circuits.words import InputWords

LUT_MODULE = Path(__file__).with_name("lut.v")
HEADER = """\
// A network of {luts} look-up tables, written by DiffLUT. Top module: circuit; `core` is all of it but the encoder.
//
// x        {features} features of {width} bits, feature f in x[{width}*f +: {width}], unsigned.
//          {meaning}
// counts   The count of ones of class c in counts[{count_width}*c +: {count_width}].
// winner   The class of the highest count; the lowest such class on ties.
//
// {timing}
// Bit j of a table's address is its input a[j]. In layers, bits of lower layers that are needed later pass through.

"""


@dataclass(frozen=True)
class Design:
    """What was written.

    Attributes:
        folder: Where.
        files: Names of the design's files in it.
        words: How features become words.
        count_width: Bits of each class's count.
        index_width: Bits of the class.
        latency: Clock cycles from an input to its class; one input a cycle. 0 is combinational.
    """

    folder: Path
    files: list[str]
    words: InputWords
    count_width: int
    index_width: int
    latency: int


def write_verilog(circuit: Circuit, folder: str | os.PathLike, words: InputWords, pipeline: bool = False) -> Design:
    """Writes a module a file: encoder, each layer, group sum, argmax, `core` of the latter, and `circuit`.

    Args:
        words: Of the inputs: `pixel_words(circuit)` or `fixed_point_words(circuit)`.
        pipeline: Whether registers follow encoder, each layer, group sum and argmax; otherwise there is no clock.
    """
    bits, slices, live = encoder_bits(circuit), circuit.layer_slices(), _live(circuit)
    width = max(int(circuit.max_counts.max()).bit_length(), 1)
    label = index_width(circuit.num_classes)
    modules = {"encoder": encoder(circuit, bits, words)}
    for number, luts in enumerate(slices, start=1):
        modules[f"layer{number}"] = layer(circuit, f"layer{number}", luts, live[number - 1], live[number])
    modules["group_sum"] = group_sum(circuit, live[-1], width)
    modules["argmax"] = argmax(circuit.num_classes, width)
    stages = [f"layer{number}" for number in range(1, len(live))]
    modules["core"] = _core(stages, list(map(len, live)), circuit.num_classes * width, label, pipeline)
    latency = len(stages) + 3 if pipeline else 0
    modules["circuit"] = _header(circuit, words, width, latency) + _circuit(
        circuit.num_features * words.width, len(bits.signals), circuit.num_classes * width, label, pipeline
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.v").write_text(text)
    (folder / LUT_MODULE.name).write_text(LUT_MODULE.read_text())
    files = [LUT_MODULE.name, *(f"{name}.v" for name in modules)]
    return Design(folder, files, words, width, label, latency)


def _live(circuit: Circuit) -> list[list[int]]:
    """After the encoder and after each layer, the signals so far that are read later or counted, ascending."""
    live = [np.unique(circuit.outputs)]
    for rows in reversed(circuit.layer_slices()):
        live[0] = np.union1d(live[0], circuit.num_inputs + np.arange(rows.start, rows.stop))
        earlier, read = live[0][live[0] < circuit.num_inputs + rows.start], circuit.wiring[rows]
        live.insert(0, np.union1d(earlier, read[read >= 0]))
    return [signals.tolist() for signals in live]


def _registered(stage: str, ports: str, width: int, name: str, pipeline: bool) -> list[str]:
    """The instance of a stage whose output is `name`, behind a register if pipelined."""
    if not pipeline:
        return [f"wire [{max(width, 1) - 1}:0] {name};", f"{stage} {stage}_ ({ports}({name}));"]
    return [
        f"wire [{max(width, 1) - 1}:0] {name}_next;",
        f"reg [{max(width, 1) - 1}:0] {name};",
        f"{stage} {stage}_ ({ports}({name}_next));",
        f"always @(posedge clk) {name} <= {name}_next;",
    ]


def _core(stages: list[str], widths: list[int], counts: int, label: int, pipeline: bool) -> str:
    lines, source = [], "s"
    for stage, width in zip(stages, widths[1:], strict=True):
        lines += _registered(stage, f".s({source}), .y", width, f"{stage}_y", pipeline)
        source = f"{stage}_y"
    lines += _registered("group_sum", f".s({source}), .counts", counts, "sums", pipeline)
    lines += _registered("argmax", ".counts(sums), .winner", label, "best", pipeline)
    lines.append("assign winner = best;")
    if pipeline:
        lines += [f"reg [{counts - 1}:0] sums_then;", "always @(posedge clk) sums_then <= sums;"]
    lines.append(f"assign counts = sums{'_then' * pipeline};")
    return module("core", [*_clock(pipeline), vector("input", widths[0], "s"), *_results(counts, label)], lines)


def _circuit(inputs: int, bits: int, counts: int, label: int, pipeline: bool) -> str:
    lines = _registered("encoder", ".x(x), .y", bits, "s", pipeline)
    lines.append(f"core core_ ({'.clk(clk), ' * pipeline}.s(s), .counts(counts), .winner(winner));")
    return module("circuit", [*_clock(pipeline), vector("input", inputs, "x"), *_results(counts, label)], lines)


def _clock(pipeline: bool) -> list[str]:
    return ["input clk"] * pipeline


def _results(counts: int, label: int) -> list[str]:
    return [vector("output", counts, "counts"), vector("output", label, "winner")]


def _header(circuit: Circuit, words: InputWords, count_width: int, latency: int) -> str:
    if words.offset:
        rounding = "every float32 is classified as by the network" if words.exact else "thresholds are rounded down"
        scales = " ".join(map(str, words.scales.tolist()))
        meaning = (
            f"A word is ceil(value * 2**scale) + {words.offset}, held within its range, NaN is 0; {rounding}.\n"
            f"//          Scales of the features: {scales}"
        )
    else:
        meaning = "A word is the pixel's value, 0 to 255; it is classified as by the network."
    timing = (
        f"Registers after each stage: latency {latency} cycles, one input a cycle." if latency else "Combinational."
    )
    return HEADER.format(luts=circuit.num_luts, features=circuit.num_features, width=words.width, meaning=meaning,
                         count_width=count_width, timing=timing)  # fmt: skip
