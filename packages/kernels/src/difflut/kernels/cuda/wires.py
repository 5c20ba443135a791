"""A wiring as the CUDA kernels read it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from difflut.kernels.facts import known, note


class Wires:
    """A wiring, who reads each feature, and an order in which neighbours read the same features.

    Args:
        wiring: (L, n) int32, its entries below `features`
        features: That there are to read.
    """

    def __init__(self, wiring: Tensor, features: int) -> None:
        self.wiring, self.features = wiring, features
        self._readers: tuple[Tensor, Tensor] | None = None
        self._orders: tuple[Tensor, Tensor] | None = None

    def readers(self) -> tuple[Tensor, Tensor]:
        """For each feature the pins that read it, in order: (features + 1,) where they begin, and (L * n,) pins."""
        if self._readers is None:
            by_feature, pins = self.wiring.flatten().sort(stable=True)
            bounds = torch.arange(self.features + 1, dtype=torch.int32, device=pins.device)
            self._readers = torch.searchsorted(by_feature, bounds, out_int32=True), pins.to(torch.int32)
        return self._readers

    def orders(self) -> tuple[Tensor, Tensor]:
        """The nodes (L,) and the features (features,) as they follow each other on a walk over the wiring."""
        if self._orders is None:
            kind = {"dtype": torch.int32, "device": self.wiring.device}
            if torch.cuda.is_current_stream_capturing():  # the entries cannot be looked at; any order will do
                return torch.arange(len(self.wiring), **kind), torch.arange(self.features, **kind)
            nodes, features = walk(self.wiring.tolist(), self.features)
            self._orders = torch.tensor(nodes, **kind), torch.tensor(features, **kind)
        return self._orders


def wires_of(wiring: Tensor, features: int) -> Wires:
    """The wiring prepared for the kernels, once for as long as its entries stay."""
    wires = known(wiring, "wires")
    if wires is None or wires.features != features:
        fits = ((wiring >= 0) & (wiring < features)).all()
        torch._assert_async(fits, f"wiring must read inputs 0 to {features - 1}")
        wires = Wires(wiring.to(torch.int32).contiguous(), features)
        # What is made while a graph is captured has its values only when the graph runs.
        if not torch.cuda.is_current_stream_capturing():
            wires.readers()
            note(wiring, "wires", wires)
    return wires


def walk(wiring: Sequence[Sequence[int]], features: int) -> tuple[list[int], list[int]]:
    """Orders of the nodes and of the features in which neighbours have as much to do with each other as can be.

    It goes from a feature to a node that reads it and on to another feature of that node, until all is visited. With
    two inputs a node and two readers a feature, wirings are rings, and the walk goes once around each.
    """
    readers: list[list[int]] = [[] for _ in range(features)]
    for node, inputs in enumerate(wiring):
        for feature in inputs:
            readers[feature].append(node)
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
