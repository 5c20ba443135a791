"""A wiring as the CUDA kernels read it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from difflut.kernels.facts import known, note
from difflut.kernels.placements import Placements


class Wires:
    """A wiring, who reads each channel, and an order in which neighbours read the same features.

    Where there is one placement, every feature is a channel.

    Args:
        wiring: (L, n) int32, its entries inside the window
        placements: Windows at which it is read.
    """

    def __init__(self, wiring: Tensor, placements: Placements) -> None:
        self.wiring, self.placements = wiring, placements
        self._readers: tuple[Tensor, Tensor] | None = None
        self._spots: Tensor | None = None
        self._orders: tuple[Tensor, Tensor] | None = None
        self.once = False  # known to be as `reads_once` says

    @property
    def area(self) -> int:
        """Pixels of a window."""
        return self.placements.kernel[0] * self.placements.kernel[1]

    def readers(self) -> tuple[Tensor, Tensor]:
        """For each channel the pins that read it, in order: (channels + 1,) where they begin, and (L * n,) pins."""
        if self._readers is None:
            by_channel, pins = (self.wiring.flatten() // self.area).sort(stable=True)
            bounds = torch.arange(self.placements.channels + 1, dtype=torch.int32, device=pins.device)
            self._readers = torch.searchsorted(by_channel, bounds, out_int32=True), pins.to(torch.int32)
        return self._readers

    def spots(self) -> Tensor:
        """Where in the window each of the readers' pins reads its channel, (L * n,) int32."""
        if self._spots is None:
            self._spots = self.wiring.flatten()[self.readers()[1]] % self.area
        return self._spots

    def listeners(self) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        """The readers as `listeners_of` gives those of a learnable wiring; each passes back all that it has."""
        start, pins = self.readers()
        return start, start[1:], pins, self.spots(), None

    def orders(self) -> tuple[Tensor | None, Tensor | None]:
        """The nodes (L,) and the features (features,) as they follow each other on a walk over the wiring.

        At many placements any order will do.
        """
        if not self.placements.is_dense:
            return None, None
        if self._orders is None:
            kind: dict[str, Any] = {"dtype": torch.int32, "device": self.wiring.device}
            features = self.placements.features
            if torch.cuda.is_current_stream_capturing():  # the entries cannot be looked at; any order will do
                return torch.arange(len(self.wiring), **kind), torch.arange(features, **kind)
            nodes, order = walk(self.wiring.tolist(), features)
            self._orders = torch.tensor(nodes, **kind), torch.tensor(order, **kind)
        return self._orders


def wires_of(wiring: Tensor, placements: Placements) -> Wires:
    """The wiring prepared for the kernels, once for as long as its entries stay.

    One in int32 was found for this call: it is neither checked nor remembered.
    """
    if wiring.dtype == torch.int32:
        return Wires(wiring, placements)
    wires = known(wiring, "wires")
    if wires is None or wires.placements != placements:
        fits = ((wiring >= 0) & (wiring < placements.window)).all()
        torch._assert_async(fits, f"wiring must read inputs 0 to {placements.window - 1}")
        wires = Wires(wiring.to(torch.int32).contiguous(), placements)
        # What is made while a graph is captured has its values only when the graph runs.
        if not torch.cuda.is_current_stream_capturing():
            wires.readers()
            if not placements.is_dense:
                wires.spots()
                wires.once = reads_once(wires.wiring, placements)
            note(wiring, "wires", wires)
    return wires


def reads_once(wiring: Tensor, placements: Placements) -> bool:
    """Whether every pixel of an image is read by one pin at one placement, as pooling does."""
    apart = placements.kernel == placements.stride and placements.count * wiring.numel() == placements.features
    return apart and len(wiring.unique()) == wiring.numel()


def walk(wiring: Sequence[Sequence[int]], features: int) -> tuple[list[int], list[int]]:
    """Orders of the nodes and of the features in which neighbours have as much to do with each other as can be.

    It goes from a feature to a node that reads it and on to another feature of that node, until all is visited. With
    two inputs a node and two readers a feature, wirings are rings, and the walk goes once around each.
    """
    readers: list[list[int]] = [[] for _ in range(features)]
    for reader, pins in enumerate(wiring):
        for pin in pins:
            readers[pin].append(reader)
    nodes, seen = dict[int, None](), dict[int, None]()
    for start in range(features):
        feature: int | None = start
        while feature is not None and feature not in seen:
            seen[feature] = None
            node = next((node for node in readers[feature] if node not in nodes), None)
            if node is None:
                break
            nodes[node] = None
            feature = next((other for other in wiring[node] if other not in seen), None)
    for feature in list(seen):
        nodes.update(dict.fromkeys(readers[feature]))
    return list(nodes), list(seen)
