"""A network as synthesizable Verilog that takes a pixel a clock."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difflut.circuits.arithmetic.head import index_width
from difflut.circuits.arithmetic.pipeline import LEVELS
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit.networks import ENCODER
from difflut.circuits.passes.split import split
from difflut.circuits.streaming import modules as text
from difflut.circuits.streaming.encoder import PixelEncoder, pixel_encoder
from difflut.circuits.streaming.head import core
from difflut.circuits.streaming.memory import Memory
from difflut.circuits.streaming.network import Kernel, Stream, StreamedNetwork
from difflut.circuits.streaming.responses import STAGES
from difflut.circuits.streaming.timing import Queues
from difflut.circuits.writers.modules import concatenation, module, vector
from difflut.circuits.writers.names import check_prefix
from difflut.circuits.writers.verilog import (
    Core,
    Written,
    forget_after,
    meaning,
    write_modules,
)

if TYPE_CHECKING:
    from difflut.kernels import Placements

BYTE = 8
SumModules = Mapping[str, tuple[str, int]]  # names, texts, and the bits that they give
GIVEN = ("framing", "slice", "window", "share", "queue")  # modules that are the same for all networks
HEADER = """\
// A network of look-up tables, written by DiffLUT, that takes a pixel each clock. Top module: {prefix}stream, with a
// reset that is active at 0.
//
// s_axis   Pixels of images of {height} x {width}, row after row; tlast is 1 at the last one of each image.
//          The word of channel c is s_axis_tdata[{bits}*c +: {bits}], unsigned.
//          {meaning}
//          An image that ends early goes on with zeros; what comes beyond its last pixel is left out.
// m_axis   The class of each image, the lowest on ties.
//
// The dense layers take an image when the one before has its class: after {latency} cycles at least.

"""


@dataclass(frozen=True)
class StreamDesign(Written):
    """A network that takes a pixel a clock.

    Attributes:
        words: Form of the inputs: how features become words.
        shape: Height, width and channels of an image.
        index_width: Bits of the class.
        head_latency: Clock cycles from the last pixel that the head reads to the class.
        queues: Pixels that may wait where streams meet, by the stream's and the reader's name.
    """

    words: InputWords
    shape: tuple[int, int, int]
    index_width: int
    head_latency: int
    queues: dict[tuple[str, str], int]

    @property
    def pixels(self) -> int:
        """Pixels of an image, the clock cycles between two of them."""
        return self.shape[0] * self.shape[1]

    @property
    def pixel_width(self) -> int:
        """Bits of a pixel as it comes, whole bytes."""
        return -(-self.shape[2] * self.words.width // BYTE) * BYTE


def write_stream(
    network: StreamedNetwork,
    folder: str | os.PathLike[str],
    words: InputWords,
    levels: int = LEVELS,
    prefix: str = "",
    head: str = "tables",
) -> StreamDesign:
    """Writes a module a file, `stream` the top one, with registers after all stages.

    Args:
        words: Form of the inputs: `pixel_words` or `fixed_point_words` of the network's circuit.
        levels: Tables on a path between registers behind the dense layers, as in `write_verilog`, and in the sums of
            detectors.
        prefix: Beginning of the names of all modules and files.
        head: How votes are counted and compared, as in `write_verilog`.

    Raises:
        ValueError: There is no such head, or no name can begin with the prefix.
    """
    check_prefix(prefix)
    hard = split(network.head.circuit)
    encoded, behind = pixel_encoder(network, words), core(hard, levels, head)
    latency, label = behind.latency, index_width(hard.num_classes)
    sums = [text.sums(one, levels) for one in network.sums]
    top = _Top(network, encoded, sums, words.width, behind)
    modules = {name: Path(__file__).with_name(f"{name}.v").read_text(encoding="utf-8") for name in GIVEN}
    modules |= {name: made for one in sums for name, (made, _) in one.items()}
    modules["encoder"] = text.encoder(encoded)
    if encoded.memory.shape[1]:
        modules["thresholds"] = text.thresholds(encoded.memory)
    modules |= {top.names[kernel.stream]: text.kernel(top.names[kernel.stream], kernel) for kernel in network.kernels}
    modules |= top.frames | behind.modules
    modules["head"] = text.head(len(behind.reads), hard.num_classes, latency)
    height, width, _ = network.shape
    header = HEADER.format(
        prefix=prefix, height=height, width=width, bits=words.width, meaning=meaning(words), latency=latency + 1
    )
    modules["stream"] = header + top.text
    folder = Path(folder)
    (folder / f"{prefix}thresholds.v").unlink(missing_ok=True)
    written = {"layer": len(hard.layer_slices()), "conv": len(network.kernels), "frame": len(top.frames)}
    written |= dict.fromkeys(STAGES, 0) | {one.name: len(made) for one, made in zip(network.sums, sums, strict=True)}
    for name, number in written.items():
        forget_after(number, name, folder, prefix)
    files = write_modules(modules, folder, prefix)
    return StreamDesign(folder, files, prefix, head, words, network.shape, label, latency, top.queues)


class _Top:
    """The top module under construction.

    Attributes:
        names: Of the streams.
        frames: The modules that keep images for the head.
        queues: Pixels that may wait, by the names of a stream and of its reader.
        text: The module.
    """

    def __init__(
        self,
        network: StreamedNetwork,
        encoded: PixelEncoder,
        sums: Sequence[SumModules],
        width: int,
        behind: Core,
    ) -> None:
        self.names = {ENCODER: "pixel"} | {one.stream: f"conv{i}" for i, one in enumerate(network.kernels, start=1)}
        self.frames: dict[str, str] = {}
        self.queues: dict[tuple[str, str], int] = {}
        self._network, self._queues, self._streams = network, Queues(network), network.head.streams
        self._lines = ["wire clk = aclk;", "wire reset = !aresetn;"]
        self._place = {ENCODER: {channel: i for i, channel in enumerate(network.reads)}}
        self._place |= {one.stream: {channel: i for i, channel in enumerate(one.gives)} for one in network.kernels}
        self._add_encoder(encoded, sums, network.shape[2] * width)
        for kernel in network.kernels:
            self._add_kernel(kernel)
        self._add_head(behind)
        size, label = -(-network.shape[2] * width // BYTE) * BYTE, index_width(network.head.circuit.num_classes)
        result = -(-label // BYTE) * BYTE
        self._lines.append("assign m_axis_tdata = head_data;")
        ports = ["input aclk", "input aresetn", vector("input", size, "s_axis_tdata"), "input s_axis_tlast",
                 "input s_axis_tvalid", "output s_axis_tready", vector("output", result, "m_axis_tdata"),
                 "output m_axis_tvalid", "input m_axis_tready"]  # fmt: skip
        self.text = module("stream", ports, self._lines)

    def _wires(self, name: str, width: int) -> None:
        self._lines += [f"wire [{max(width, 1) - 1}:0] {name}_data;", f"wire {name}_last, {name}_valid, {name}_ready;"]

    def _instance(self, kind: str, name: str, source: str, gives: str, **parameters: int | str) -> None:
        """A module between two streams."""
        given = ", ".join(f".{key}({value})" for key, value in parameters.items())
        ports = [f".{side}_{wire}({stream}_{wire})" for side, stream in (("s", source), ("m", gives))
                 for wire in ("data", "last", "valid", "ready")]  # fmt: skip
        self._lines.append(f"{kind} #({given}) {name} (.clk(clk), .reset(reset), {', '.join(ports)});")

    def _add_encoder(self, encoded: PixelEncoder, sums: Sequence[SumModules], width: int) -> None:
        """Words to bits; where there are detectors, first to the words of features."""
        height, columns, _ = self._network.shape
        self._wires("in", width)
        self._wires("word", width)
        self._lines += [
            f"assign in_data = s_axis_tdata[{width - 1}:0];",
            "assign in_last = s_axis_tlast, in_valid = s_axis_tvalid, s_axis_tready = in_ready;",
        ]
        self._instance("framing", "framing_", "in", "word", D=width, N=height * columns)
        words = "word"
        for one, modules in zip(self._network.sums, sums, strict=True):
            window = f"{one.name}_window"
            self._add_window(window, words, one.placements, one.width, edge=True)
            words = window
            for name, (_, given) in modules.items():
                self._computed(f"{name}_word", name, words, f".s({words}_data), ", given)
                words = f"{name}_word"
        memory = encoded.memory.shape[1]
        if memory:
            self._lines += [
                vector("wire", memory, "limits") + ";",
                f"wire step = {words}_valid && {words}_ready;",
                "thresholds thresholds_ (.clk(clk), .reset(reset), .step(step), .t(limits));",
            ]
        beside = ".t(limits), " * (memory > 0)
        self._computed(self.names[ENCODER], "encoder", words, f".x({words}_data), {beside}", len(encoded.outputs))
        self._share(ENCODER, len(encoded.outputs))

    def _add_window(self, name: str, source: str, where: "Placements", width: int, edge: bool = False) -> None:
        """The windows of a stream; what lies outside of an image is as its edge, or 0."""
        (high, wide), (down, right), (above, left) = where.kernel, where.stride, where.padding
        style = '"block"' if Memory(where.width, width * (high - 1)).in_blocks else '"distributed"'
        self._wires(name, width * high * wide)
        self._instance(
            "window", name, source, name, C=width, H=where.height, W=where.width,
            KH=high, KW=wide, SH=down, SW=right, PH=above, PW=left, EDGE=int(edge), STYLE=style,
        )  # fmt: skip

    def _computed(self, name: str, kind: str, source: str, reads: str, width: int) -> None:
        """Tables behind a stream, and a register behind them."""
        self._wires(f"{name}_next", width)
        self._wires(name, width)
        self._lines += [
            f"{kind} {kind}_ ({reads}.y({name}_next_data));",
            f"assign {name}_next_last = {source}_last, {name}_next_valid = {source}_valid;",
            f"assign {source}_ready = {name}_next_ready;",
        ]
        self._instance("slice", f"{name}_slice", f"{name}_next", name, N=max(width, 1))

    def _share(self, stream: Stream, width: int) -> None:
        """The stream as each reader sees it, with a queue where that reads others too."""
        name, edges = self.names[stream], []
        readers = [kernel for kernel in self._network.kernels if stream in kernel.reads]
        rooms = [(self.names[kernel.stream], self._queues.before_kernel(stream, kernel)) for kernel in readers]
        if stream in self._streams:
            rooms.append(("head", self._queues.before_head(stream, self._streams)))
        for reader, room in rooms:
            edge = f"{name}_to_{reader}"
            edges.append(f"{edge}_in" if room else edge)
            self._wires(edge, width)
            if room:
                self.queues[name, reader] = room
                self._wires(edges[-1], width)
                self._instance("queue", f"{edge}_queue", edges[-1], edge, N=max(width, 1), DEPTH=room)
            self._lines.append(f"assign {edges[-1]}_data = {name}_data, {edges[-1]}_last = {name}_last;")
        if len(edges) == 1:
            self._lines.append(f"assign {edges[0]}_valid = {name}_valid, {name}_ready = {edges[0]}_ready;")
        else:
            valid, ready = ("{" + ", ".join(f"{edge}_{wire}" for edge in edges) + "}" for wire in ("valid", "ready"))
            self._lines.append(
                f"share #(.N({len(edges)})) {name}_share (.clk(clk), .reset(reset), .s_valid({name}_valid), "
                f".s_ready({name}_ready), .m_valid({valid}), .m_ready({ready}));"
            )

    def _add_kernel(self, kernel: Kernel) -> None:
        name, channels = self.names[kernel.stream], text.window_channels(kernel)
        pixel, window = f"{name}_pixel", f"{name}_window"
        self._wires(pixel, len(channels))
        edges = {stream: f"{self.names[stream]}_to_{name}" for stream in kernel.reads}
        data = [f"{edges[stream]}_data[{self._place[stream][channel]}]" for stream, channel in channels]
        first, both = next(iter(edges.values())), " && ".join(f"{edge}_valid" for edge in edges.values())
        self._lines += [
            f"assign {pixel}_data = {concatenation(data)};",
            f"assign {pixel}_last = {first}_last, {pixel}_valid = {both};",
            *(f"assign {edge}_ready = {pixel}_ready && {pixel}_valid;" for edge in edges.values()),
        ]
        self._add_window(window, pixel, kernel.placements, len(channels))
        self._computed(name, name, window, f".s({window}_data), ", len(kernel.gives))
        self._share(kernel.stream, len(kernel.gives))

    def _add_head(self, behind: Core) -> None:
        """The images that the head reads, and the head."""
        sources, place, whole = self._network.head.sources, {}, []
        self._lines.append("wire taken;")
        for number, stream in enumerate(self._streams, start=1):
            name, frame = f"frame{number}", f"{self.names[stream]}_to_head"
            inputs = [(signal, *sources[signal].tolist()) for signal in behind.reads]
            read = sorted((pixel, self._place[stream][channel], signal)
                          for signal, source, channel, pixel in inputs if source == stream)  # fmt: skip
            pixels = int(sources[sources[:, 0] == stream, 2].max()) + 1
            reads: list[list[int]] = [[] for _ in range(pixels)]
            for index, (pixel, channel, signal) in enumerate(read):
                reads[pixel].append(channel)
                place[signal] = f"{name}_y[{index}]"
            self.frames[name] = text.frame(name, len(self._place[stream]), reads)
            whole.append(f"{name}_full")
            ports = ", ".join(f".s_{wire}({frame}_{wire})" for wire in ("data", "last", "valid", "ready"))
            self._lines += [
                f"wire [{len(read) - 1}:0] {name}_y;",
                f"wire {name}_full;",
                f"{name} {name}_ (.clk(clk), .reset(reset), {ports}, .y({name}_y), .full({name}_full), .taken(taken));",
            ]
        bits = concatenation([place[signal] for signal in behind.reads])
        label = index_width(self._network.head.circuit.num_classes)
        self._lines += [
            f"wire [{label - 1}:0] head_data;",
            "wire head_ready;",
            f"wire whole = {' && '.join(whole)};",
            "assign taken = whole && head_ready;",
            f"head head_ (.clk(clk), .reset(reset), .s({bits}), .s_valid(whole), .s_ready(head_ready), "
            ".m_data(head_data), .m_valid(m_axis_tvalid), .m_ready(m_axis_tready));",
        ]
