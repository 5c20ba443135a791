"""When pixels of each stream are there, and how many must wait where streams meet."""

from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits.circuit.networks import ENCODER
from difflut.circuits.streaming.network import Kernel, Stream, StreamedNetwork

if TYPE_CHECKING:
    from difflut.kernels import Placements

CYCLES = 4  # in which a pixel passes a kernel, a queue before it included


def window_ends(where: "Placements") -> np.ndarray:
    """The pixel, counted from the first of an image, after which each window is whole: `(windows,)`."""
    ends = [
        np.arange(count) * stride - padding + kernel - 1
        for count, stride, kernel, padding in zip(
            (where.out_height, where.out_width), where.stride, where.kernel, where.padding, strict=True
        )
    ]
    return (ends[0][:, None] * where.width + ends[1]).reshape(-1)


class Queues:
    """The pixels that must be able to wait between a stream and its reader, so that no stream ever waits for itself.

    Pixels are counted by the pixels of the image that have come before. The last windows of an image may be pushed out
    at once, or wait for pixels of the next image. A queue has room for what comes at the earliest while the reader
    waits for another stream that comes at the latest, and for what comes while a pixel passes the other's kernels.
    """

    def __init__(self, network: StreamedNetwork) -> None:
        height, width, _ = network.shape
        self._pixels = height * width
        self._earliest = {ENCODER: np.arange(self._pixels)}
        self._latest = {ENCODER: np.arange(self._pixels)}
        self._passed = {ENCODER: 0}
        for kernel in network.kernels:
            self._add(kernel)

    def _add(self, kernel: Kernel) -> None:
        ends = window_ends(kernel.placements)
        for times, after in ((self._earliest, 0), (self._latest, self._pixels)):
            read = np.max([times[stream] for stream in kernel.reads], axis=0)
            beyond = read + after if after else np.full(len(read), read[-1])
            times[kernel.stream] = np.concatenate([read, beyond])[ends]
        self._passed[kernel.stream] = 1 + max(self._passed[stream] for stream in kernel.reads)

    def before_kernel(self, stream: Stream, kernel: Kernel) -> int:
        """Pixels that may wait for the kernel; 0 needs no queue."""
        taken = np.max([self._latest[other] for other in kernel.reads], axis=0)
        return self._room(stream, list(kernel.reads), taken)

    def before_head(self, stream: Stream, streams: list[Stream]) -> int:
        """Pixels that may wait until the images of all streams are whole; 0 needs no queue."""
        whole = max(self._latest[other][-1] for other in streams)
        return self._room(stream, streams, np.full(len(self._earliest[stream]), whole))

    def all(self, network: StreamedNetwork) -> list[tuple[int, int]]:
        """The pixels of every queue, and the bits of each."""
        width = {ENCODER: len(network.reads)} | {kernel.stream: len(kernel.gives) for kernel in network.kernels}
        rooms = [(self.before_kernel(stream, kernel), width[stream] + 1)
                 for kernel in network.kernels for stream in kernel.reads]  # fmt: skip
        streams = network.head.streams
        rooms += [(self.before_head(stream, streams), width[stream] + 1) for stream in streams]
        return [(room, size) for room, size in rooms if room]

    def _room(self, stream: Stream, streams: list[Stream], taken: np.ndarray) -> int:
        if len(streams) == 1:
            return 0
        times = self._earliest[stream]
        images = [times + image * self._pixels for image in range(4)]
        there = np.searchsorted(np.concatenate(images), taken, side="right")
        waiting = int((there - np.arange(len(times))).max())
        later = max(self._passed[other] for other in streams) - self._passed[stream]
        return waiting + CYCLES * (1 + max(later, 0))
