"""A circuit as synthesizable Verilog."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.head import count_width, has_chains, index_width
from difflut.circuits.arithmetic.pipeline import LEVELS
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.split import split
from difflut.circuits.writers.modules import CLOCK, encoder, layer, module, vector
from difflut.circuits.writers.names import check_prefix, prefixed
from difflut.circuits.writers.parts import Part, core_module, result_ports
from difflut.circuits.writers.sums import argmax, group_sum

GIVEN = ("lut",)  # modules in files beside this one
CHAINED = ("lut_pair", "carry")  # those of a head on carry chains
HEADER = """\
// A network of {luts} look-up tables, written by DiffLUT. Top module: {prefix}circuit; `{prefix}core` is all of it but
// the encoder.
//
// x        {features} features of {width} bits, feature f in x[{width}*f +: {width}], unsigned.
//          {meaning}
{counts}// winner   The class of the highest count; the lowest such class on ties.
//
// {timing}
// Bit j of a table's address is its input a[j]. In layers, bits of lower layers that are needed later pass through.

"""


@dataclass(frozen=True)
class Written:
    """Verilog in a folder.

    Attributes:
        folder: Folder of the files.
        files: Names of the design's files in it.
        prefix: Beginning of the names of modules and files.
        head: How votes are counted and compared: in "tables", or on carry "chains".
    """

    folder: Path
    files: list[str]
    prefix: str
    head: str


@dataclass(frozen=True)
class Design(Written):
    """A circuit with all its tables.

    Attributes:
        words: Form of the inputs: how features become words.
        count_width: Bits of each class's count; 0 where counts are no outputs.
        index_width: Bits of the class.
        latency: Clock cycles from an input to its class; one input a cycle. 0 is combinational.
        core_latency: Those of them from the bits of the encoder on.
        levels: Tables on a path between registers of compressors and of the tournament.
    """

    words: InputWords
    count_width: int
    index_width: int
    latency: int
    core_latency: int
    levels: int


@dataclass(frozen=True)
class Core:
    """What follows the encoder.

    Attributes:
        modules: The text of each of its modules and of those that they are made of, "core" the last.
        reads: The signals of its input `s`.
        latency: Clock cycles from them to the class.
    """

    modules: dict[str, str]
    reads: list[int]
    latency: int


def stages(circuit: Circuit) -> list[str]:
    """What registers can follow; "compressors" and "tournament" have some between their tables."""
    layers = [f"layer{number}" for number in range(1, len(split(circuit).layer_slices()) + 1)]
    return ["encoder", *layers, "compressors", "group_sum", "tournament", "argmax"]


def write_verilog(
    circuit: Circuit,
    folder: str | os.PathLike[str],
    words: InputWords,
    pipeline: bool | Collection[str] = False,
    counts: bool = False,
    levels: int = LEVELS,
    prefix: str = "",
    head: str = "tables",
) -> Design:
    """Writes a module a file: encoder, each layer, group sum, argmax, `core` of the latter, and `circuit`.

    A design that was written to the folder before is replaced.
    Tables of more than six inputs are split.

    Args:
        words: Form of the inputs: `pixel_words(circuit)` or `fixed_point_words(circuit)`.
        pipeline: The `stages` that registers follow; True is all, False none, which needs no clock.
        counts: Whether the counts are outputs too, delayed to come with their class.
        levels: Tables on a path between the registers of "compressors" and of "tournament": with fewer the clock is
            faster, and there are more cycles and registers.
        prefix: Beginning of the names of all modules and files, so that several circuits fit into one design.
        head: How votes are counted and compared: "tables" are for every device; "chains" are carry chains and pairs of
            tables in a LUT of two outputs, which are primitives of Xilinx devices where `DIFFLUT_XILINX` is defined.

    Raises:
        ValueError: There is no such stage or head, no name can begin with the prefix, or a bias is negative.
    """
    check_prefix(prefix)
    registers = _chosen(stages(circuit), pipeline)
    circuit = split(circuit)
    bits, width, label = encoder_bits(circuit), count_width(circuit) * counts, index_width(circuit.num_classes)
    behind = core(circuit, registers, counts, levels, head)
    encoded = Part("encoder", "x", "y", len(bits.signals), "encoder" in registers, "encoder" in registers)
    top = _circuit(encoded, circuit.sample_size * words.width, circuit.num_classes * width, label, behind.latency)
    latency = behind.latency + encoded.latency
    modules = {
        **behind.modules,
        "encoder": encoder(circuit, bits, words),
        "circuit": _header(circuit, words, width, latency, registers, prefix) + top,
    }
    folder = Path(folder)
    forget_after(len(circuit.layer_slices()), "layer", folder, prefix)
    files = write_modules(modules, folder, prefix)
    return Design(folder, files, prefix, head, words, width, label, latency, behind.latency, levels)


def write_modules(modules: Mapping[str, str], folder: Path, prefix: str) -> list[str]:
    """Writes a file for each module; returns their names. What only another head needs is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in {*CHAINED} - {*modules}:
        (folder / f"{prefix}{name}.v").unlink(missing_ok=True)
    for name, text in modules.items():
        (folder / f"{prefix}{name}.v").write_text(prefixed(text, prefix, modules), encoding="utf-8")
    return [f"{prefix}{name}.v" for name in modules]


def core(circuit: Circuit, registers: Collection[str], counts: bool, levels: int, head: str) -> Core:
    """Layers, group sum and argmax of a circuit whose tables are split, with registers after the stages that are named.

    For `counts`, `levels` and `head` see `write_verilog`.
    """
    live, width = live_signals(circuit), count_width(circuit)
    sums, label = circuit.num_classes * width, index_width(circuit.num_classes)
    given = GIVEN + CHAINED * has_chains(head)
    modules = {name: Path(__file__).with_name(f"{name}.v").read_text(encoding="utf-8") for name in given}
    parts: list[Part] = []

    def add(name: str, text: str, reads: str, gives: str, size: int, latency: int = 0) -> None:
        modules[name] = text
        parts.append(Part(name, reads, gives, size, latency + (name in registers), name in registers))

    for number, luts in enumerate(circuit.layer_slices(), start=1):
        name, (reads, gives) = f"layer{number}", live[number - 1 : number + 1]
        add(name, layer(circuit, name, luts, reads, gives), "s", "y", len(gives))
    summed, latency = group_sum(circuit, live[-1], levels if "compressors" in registers else None, head)
    add("group_sum", summed, "s", "counts", sums, latency)
    chosen, latency = argmax(circuit, levels if "tournament" in registers else None, head)
    add("argmax", chosen, "counts", "winner", label, latency)
    modules["core"], latency = core_module(parts, len(live[0]), counts)
    return Core(modules, live[0], latency)


def forget_after(number: int, name: str, folder: Path, prefix: str) -> None:
    """Removes those of a deeper design written here before, such as layers, which `*.v` would compile along."""
    modules = (folder / f"{prefix}{name}{later}.v" for later in count(number + 1))
    for file in takewhile(Path.exists, modules):
        file.unlink()


def _chosen(known: list[str], pipeline: bool | Collection[str]) -> list[str]:
    chosen = known if pipeline is True else list(pipeline or ())
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"no stage {unknown[0]!r} to put registers after; there are {', '.join(known)}")
    return chosen


def live_signals(circuit: Circuit) -> list[list[int]]:
    """After the encoder and after each layer, the signals so far that are read later or counted, ascending."""
    live = [np.unique(circuit.outputs)]
    for rows in reversed(circuit.layer_slices()):
        live[0] = np.union1d(live[0], circuit.num_inputs + np.arange(rows.start, rows.stop))
        earlier, read = live[0][live[0] < circuit.num_inputs + rows.start], circuit.wiring[rows]
        live.insert(0, np.union1d(earlier, read[read >= 0]))
    return [signals.tolist() for signals in live]


def _circuit(encoded: Part, inputs: int, counts: int, label: int, latency: int) -> str:
    clock = ".clk(clk), " if latency else ""
    results = ".counts(counts), " * (counts > 0) + ".winner(winner)"
    lines = [*encoded.instance("x"), f"core core_ ({clock}.s(encoder_y), {results});"]
    ports = [vector("input", inputs, "x"), *result_ports(counts, label)]
    return module("circuit", [CLOCK] * (latency + encoded.latency > 0) + ports, lines)


def meaning(words: InputWords) -> str:
    """What a word says, in lines that are indented as those of a header."""
    if words.pixels:
        return "A word is the pixel's value, 0 to 255; it is classified as by the network."
    rounding = "every float32 is classified as by the network" if words.exact else "thresholds are rounded down"
    scales, offsets = (" ".join(map(str, exponents.tolist())) for exponents in (words.scales, words.offsets))
    return (
        f"A word is ceil(value * 2**scale) + offset, held within its range, NaN is 0; {rounding}.\n"
        f"//          Scales of the features: {scales}\n//          Offsets: {offsets}"
    )


def _header(
    circuit: Circuit, words: InputWords, count_width: int, latency: int, registers: list[str], prefix: str
) -> str:
    timing = f"Registers after {', '.join(registers)}: latency {latency} cycles, one input a cycle."
    counts = f"// counts   The count of ones of class c in counts[{count_width}*c +: {count_width}].\n"
    return HEADER.format(luts=circuit.num_luts, features=circuit.sample_size, width=words.width, meaning=meaning(words),
                         counts=counts * (count_width > 0), timing=timing if latency else "Combinational.",
                         prefix=prefix)  # fmt: skip
