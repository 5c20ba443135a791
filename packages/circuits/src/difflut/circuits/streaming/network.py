"""A network as a stream computes it: each layer's tables once, for the windows of an image that pass by."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.luts import Luts
from difflut.circuits.circuit.networks import ENCODER
from difflut.circuits.passes.simplify import simplify
from difflut.circuits.passes.split import LUT_SIZE
from difflut.circuits.streaming.checks import check_streams
from difflut.circuits.streaming.responses import Sums, streamed_sums

if TYPE_CHECKING:
    from difflut.kernels import Placements
    from difflut.models import LUTNetwork
    from difflut.models.networks import Stage

Stream = int  # `ENCODER`, or the number of the layer that makes it
Channels = dict[Stream, list[int]]  # the channels of each stream that are read, ascending


@dataclass(frozen=True, eq=False)
class Kernel:
    """The tables that stand at every window of an image: those of a layer, and of layers of single pixels behind it.

    Attributes:
        stream: What it makes.
        placements: The windows.
        sources: Stream and channel that each channel of a window is.
        reads: The channels that are read.
        circuit: Bits of a window, `(channel * kernel height + dy) * kernel width + dx`, to counts of 0 or 1: a class
            for each channel in `gives`.
        gives: The channels of its output that are read later, ascending.
    """

    stream: Stream
    placements: "Placements"
    sources: list[tuple[Stream, int]]
    reads: Channels
    circuit: Circuit
    gives: list[int]


@dataclass(frozen=True, eq=False)
class Head:
    """What is computed once an image: dense layers and group sum.

    Attributes:
        circuit: Its inputs are the bits of whole images, those of channel 0 of the first source first.
        sources: Stream, channel and pixel that each input is: `(inputs, 3)`.
    """

    circuit: Circuit
    sources: np.ndarray

    @property
    def streams(self) -> list[Stream]:
        """The streams that are read, ascending."""
        return np.unique(self.sources[self.circuit.read_inputs(), 0]).tolist()


@dataclass(frozen=True, eq=False)
class StreamedNetwork:
    """A network whose images come pixel by pixel, row after row.

    Attributes:
        circuit: The same network with all its placements, as it is written unrolled.
        shape: Height, width and channels of an image.
        features: The features of a pixel that are read, ascending: its channels, and then the responses of detectors.
        reads: The bits of these that are read, ascending: `feature * bits + bit`.
        sums: Where there are detectors, the sums that make the features; see `streamed_sums`.
        kernels: Those that are read, in the order in which images pass them.
        head: What follows them.
    """

    circuit: Circuit
    shape: tuple[int, int, int]
    features: list[int]
    reads: list[int]
    sums: list[Sums]
    kernels: list[Kernel]
    head: Head

    @classmethod
    def from_model(cls, model: "LUTNetwork", lut_size: int = LUT_SIZE) -> "StreamedNetwork":
        """Takes a network apart; the tables of each kernel and of the head are simplified.

        Args:
            lut_size: Inputs that a table may have after simplification.

        Raises:
            ValueError: The network has no convolution, or one that cannot be streamed, or its classes do not depend on
                the image; the error says which and why.
        """
        stages = model.hard()
        check_streams(model, stages)
        circuit = Circuit.from_model(model)
        image = next(layer.placements for layer, _ in stages if not layer.placements.is_dense)
        sizes = {ENCODER: (image.channels, image.height * image.width)}
        sizes |= {number: (layer.num_tables, layer.placements.count) for number, (layer, _) in enumerate(stages)}
        head = _head(model, stages, sizes, lut_size)
        if not head.streams:
            raise ValueError("no class depends on the image, so there is nothing to stream; write the network unrolled")
        needed: defaultdict[Stream, set[int]] = defaultdict(set)
        for stream, channel, _ in head.sources[head.circuit.read_inputs()].tolist():
            needed[stream].add(channel)
        kernels: list[Kernel] = []
        for group in reversed(_groups(stages, model.head_sources)):
            if gives := sorted(needed[group[-1]]):
                kernels.insert(0, _kernel(stages, group, gives, sizes, lut_size))
                if not kernels[0].reads:
                    raise ValueError(f"layers[{group[-1]}] gives the same at all windows; write the network unrolled")
                for stream, channels in kernels[0].reads.items():
                    needed[stream].update(channels)
        bits, reads = circuit.codebook.shape[1], sorted(needed[ENCODER])
        shape, detectors = (
            (image.height, image.width, image.channels // bits),
            model.encoder and model.encoder.detectors,
        )
        features = np.unique(np.array(reads, int) // bits).tolist()
        sums: list[Sums] = []
        if detectors:
            shape = *shape[:2], shape[2] - len(detectors)
            sums = streamed_sums(detectors, shape, features)
        return cls(circuit, shape, features, reads, sums, kernels, head)


def _groups(stages: "Sequence[Stage]", head_sources: Sequence[Stream]) -> list[list[int]]:
    """The layers of each kernel: one of windows, and those that follow it and read its pixels alone."""
    readers = [source for _, sources in stages for source in sources] + list(head_sources)
    groups: list[list[int]] = []
    for number, (layer, sources) in enumerate(stages):
        where = layer.placements
        if where.is_dense:
            continue
        alone = bool(groups) and sources == (groups[-1][-1],) and readers.count(groups[-1][-1]) == 1
        if alone and where.kernel == where.stride == (1, 1) and where.padding == (0, 0):
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _kernel(
    stages: "Sequence[Stage]",
    group: list[int],
    gives: list[int],
    sizes: Mapping[Stream, tuple[int, int]],
    lut_size: int,
) -> Kernel:
    layer, streams = stages[group[0]]
    where = layer.placements
    luts, signals = Luts(where.window), np.arange(where.window)
    for number in group:
        layer = stages[number].layer
        wiring = signals[layer.wiring.cpu().numpy()]
        signals = luts.add(wiring[:, None], layer.tables.cpu().numpy()).reshape(-1)
    circuit = _circuit(where.window, luts, signals[gives], np.arange(len(gives)), len(gives), 1.0)
    circuit, _ = simplify(circuit, lut_size)
    sources = [(stream, channel) for stream in streams for channel in range(sizes[stream][0])]
    reads: defaultdict[Stream, set[int]] = defaultdict(set)
    for channel in (circuit.read_inputs() // (where.kernel[0] * where.kernel[1])).tolist():
        stream, number = sources[channel]
        reads[stream].add(number)
    return Kernel(
        group[-1], where, sources, {stream: sorted(reads[stream]) for stream in sorted(reads)}, circuit, gives
    )


def _head(
    model: "LUTNetwork", stages: "Sequence[Stage]", sizes: Mapping[Stream, tuple[int, int]], lut_size: int
) -> Head:
    dense = {number: stage for number, stage in enumerate(stages) if stage.layer.placements.is_dense}
    read = {source for _, sources in dense.values() for source in sources} | set(model.head_sources)
    streams = sorted(read - dense.keys())
    sources = np.concatenate([_pixels(stream, *sizes[stream]) for stream in streams])
    luts, signals = Luts(len(sources)), {stream: np.flatnonzero(sources[:, 0] == stream) for stream in streams}
    for number, (layer, layer_sources) in dense.items():
        rows = np.concatenate([signals[source] for source in layer_sources])
        wiring = rows[layer.wiring.cpu().numpy()]
        signals[number] = luts.add(wiring[:, None], layer.tables.cpu().numpy()).reshape(-1)
    heads, group_sum = [signals[source] for source in model.head_sources], model.groupsum
    assert group_sum is not None
    groups = group_sum.groups(*map(len, heads)).cpu().numpy()
    circuit = _circuit(len(sources), luts, np.concatenate(heads), groups, group_sum.k, group_sum.present_tau)
    return Head(simplify(circuit, lut_size)[0], sources)


def _pixels(stream: Stream, channels: int, pixels: int) -> np.ndarray:
    channel, pixel = np.divmod(np.arange(channels * pixels), pixels)
    return np.stack([np.full(len(channel), stream), channel, pixel], axis=1)


def _circuit(inputs: int, luts: Luts, outputs: np.ndarray, groups: np.ndarray, classes: int, tau: float) -> Circuit:
    """A circuit whose inputs are bits."""
    return Circuit(
        thresholds=np.full((inputs, 1), np.nextafter(np.float32(0.5), np.float32(0))),
        codebook=np.array([[False], [True]]),
        **luts.arrays(),
        outputs=outputs,
        inverted=np.zeros(len(outputs), bool),
        groups=groups,
        bias=np.zeros(classes, np.int64),
        tau=tau,
    )
