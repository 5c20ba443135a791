"""What a stream costs in 6-input LUTs, registers and memory, estimated without any tool."""

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits.arithmetic.pipeline import LEVELS, pipeline
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.passes.split import split
from difflut.circuits.streaming.encoder import pixel_encoder
from difflut.circuits.streaming.head import head_cost
from difflut.circuits.streaming.memory import Memory
from difflut.circuits.streaming.modules import bits, threshold_tables
from difflut.circuits.streaming.network import Kernel, StreamedNetwork
from difflut.circuits.streaming.responses import Sums, sum_tables
from difflut.circuits.streaming.timing import Queues

if TYPE_CHECKING:
    from difflut.kernels import Placements

CONTROL = 40  # LUTs that count the lines and columns of a window, and hand pixels on
ONCE = 60  # LUTs that count pixels from the input to the head, and about as many flip-flops


@dataclass(frozen=True)
class StreamCost:
    """6-input LUTs of a network that takes a pixel a clock; `total` is all of them.

    Attributes:
        kernels: LUTs of each kernel's tables, once for all windows.
        windows: LUTs that make the windows, what lies outside of the image, and all counters of pixels.
        memory: LUTs of the memories of lines, and of pixels that wait, where these are made of LUTs.
        encoder: LUTs of the sums of detectors and the comparisons of a pixel, and of the memory of thresholds.
        dense: LUTs of the tables of dense layers, their frames of pixels included.
        popcount: LUTs that choose a class's votes and count them.
        argmax: LUTs that find the highest count.
        flip_flops: Flip-flops of all stages.
        line_bits: Bits of the memories of lines, which `memory` has as LUTs.
        queue_bits: Bits of pixels that wait where streams meet.
        threshold_bits: Bits of the memory of thresholds.
        blocks: Blocks of 36 Kbit, beside the LUTs: the memories for which these are better, see `Memory.in_blocks`.
    """

    kernels: list[int]
    windows: int
    memory: int
    encoder: int
    dense: int
    popcount: int
    argmax: int
    flip_flops: int
    line_bits: int
    queue_bits: int
    threshold_bits: int
    blocks: int

    @property
    def total(self) -> int:
        return sum(self.kernels) + self.windows + self.memory + self.encoder + self.dense + self.popcount + self.argmax

    def __str__(self) -> str:
        return (
            f"{self.total:,} LUT6 (kernels {sum(self.kernels):,}, windows {self.windows:,}, line buffers "
            f"{self.memory:,}, dense {self.dense:,}, popcount {self.popcount:,}, argmax {self.argmax:,}, encoder "
            f"{self.encoder:,}), {self.flip_flops:,} flip-flops, {self.line_bits:,} bits of lines"
            + f", {self.blocks:,} blocks of memory"
            * (self.blocks > 0)
        )


def estimate_stream_cost(
    network: StreamedNetwork, words: InputWords, levels: int = LEVELS, head: str = "tables"
) -> StreamCost:
    """Counts the tables that are written, and the memories as Xilinx devices have them.

    Args:
        words: Form of the inputs, as in `write_stream`.
        levels: Levels of tables between registers, as in `write_stream`.
        head: How votes are counted and compared, as in `write_stream`.
    """
    encoded, once = pixel_encoder(network, words), head_cost(split(network.head.circuit), levels, head)
    pixels, width = encoded.memory.shape
    limits = Memory(pixels, width, constant=True)
    windows = [_window_of_sums(sums) for sums in network.sums] + [_window(kernel) for kernel in network.kernels]
    sums = [sum_tables(one) for one in network.sums]
    queues = [Memory(*size) for size in Queues(network).all(network)]
    rom = 0 if limits.in_blocks else len(threshold_tables(encoded.memory)[0].made)
    registers = len(network.head.circuit.read_inputs())  # of whole images
    registers += len(network.reads) + sum(len(kernel.gives) for kernel in network.kernels)
    registers += sum(len(bits) for one in sums for bits in (*pipeline(*one, levels).passed, one[1]))
    blocks = [one for one in (limits, *(window.lines for window in windows)) if one.in_blocks]
    frames = sum(len(np.unique(network.head.sources[network.head.sources[:, 0] == stream, 2]))
                 for stream in network.head.streams)  # fmt: skip
    return StreamCost(
        kernels=[split(kernel.circuit).num_luts for kernel in network.kernels],
        windows=ONCE + sum(one.luts for one in windows),
        memory=sum(one.luts for one in queues) + sum(one.lines.luts for one in windows if not one.lines.in_blocks),
        encoder=sum(len(tables.made) for tables, _ in sums) + len(encoded.tables.made) + rom,
        dense=once.tables + frames,
        popcount=once.popcount,
        argmax=once.argmax,
        flip_flops=ONCE
        + once.flip_flops
        + registers
        + sum(one.flip_flops for one in windows)
        + limits.width * (not limits.in_blocks),
        line_bits=sum(one.lines.bits for one in windows),
        queue_bits=sum(one.bits for one in queues),
        threshold_bits=limits.bits,
        blocks=sum(one.blocks for one in blocks),
    )


class _Window:
    """What a window takes: the bits that are read, and those that come to be read later.

    Args:
        where: The windows.
        read: Whether each bit of a window is read: `(bits, height, width)`.

    Attributes:
        lines: Its memory; words of 0 bits where it needs none.
        luts: LUTs of its counters and of what lies outside of the image.
        flip_flops: Flip-flops of the window and of the counters.
    """

    def __init__(self, where: "Placements", read: np.ndarray) -> None:
        (high, wide), (above, left) = where.kernel, where.padding
        held = np.logical_or.accumulate(read, axis=2)  # the columns move to the left
        last_y, last_x = ((count - 1) * stride for count, stride in
                          zip((where.out_height, where.out_width), where.stride, strict=True))  # fmt: skip
        rows, columns = np.arange(high), np.arange(wide)
        cut = (rows < above) | (last_y + rows >= where.height + above)
        borders = held[:, cut, -1].sum() + held[..., : min(left, wide - 1)].sum()
        borders += read[..., last_x + columns >= where.width + left].sum()
        counters = 3 * bits(where.width) + 2 * bits(where.height)
        waits = np.logical_or.accumulate(read.any(2), axis=1)[:, :-1]  # the lines move up
        self.lines = Memory(where.width, int(waits.sum()))
        self.luts = int(borders) + CONTROL
        self.flip_flops = int(held.sum()) + self.lines.width * (not self.lines.in_blocks) + counters


def _window(kernel: Kernel) -> _Window:
    where = kernel.placements
    read = np.zeros((where.channels, *where.kernel), bool)
    read.reshape(-1)[kernel.circuit.read_inputs()] = True
    return _Window(where, read)


def _window_of_sums(sums: Sums) -> _Window:
    where = sums.placements
    read = np.zeros((where.channels, *where.kernel), bool)
    for word, place, _ in chain.from_iterable(sums.terms):
        read.reshape(where.channels, -1)[word, place] = True
    return _Window(where, read.repeat([word.bits for word in sums.reads], axis=0))
