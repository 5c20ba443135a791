"""A hard network with all its signals on a data set, in which one node at a time is changed."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from difflut.models import LUTNetwork

AT_ONCE = 4096  # samples encoded at a time
NODES_AT_ONCE = 64  # nodes that are evaluated at a time, which bounds the working memory

Change = tuple[int, Tensor, Tensor]  # a layer, nodes of it, and what these give: `(nodes, samples)`


@dataclass
class Level:
    """A layer as it is at present: `wiring (L, n)`, `tables (L, 2**n)` of 0 and 1."""

    wiring: Tensor
    tables: Tensor

    def outputs(self, nodes: Tensor, read: Tensor) -> Tensor:
        """The outputs of nodes whose inputs are `read (nodes, n, samples)`: `(nodes, samples)`."""
        return self.tables[nodes].gather(1, addresses(read).long())


class HardState:
    """The signals and class counts of a network on all samples.

    Args:
        model: A chain of dense layers with one output a node, and a group sum.
        x: `(samples, *features)`
        y: Class indices `(samples,)`, on the model's device.

    Attributes:
        levels: Its layers.
        signals: Inputs of each layer, and last the bits that are counted: `(features, samples)` of 0 and 1.
        counts: The ones of each class: `(classes, samples)`.
        reads_pixels: Whether the inputs are bytes.
    """

    def __init__(self, model: LUTNetwork, x: Tensor, y: Tensor) -> None:
        assert model.groupsum is not None  # the caller has checked it
        self.reads_pixels = x.dtype == torch.uint8
        bits = [model.encode(rows.to(y.device)).to(torch.uint8) for rows in x.split(AT_ONCE)]
        self.levels, self.signals = [], [torch.cat(bits).t().contiguous()]
        for layer in model.layers:
            hard = layer.hard()
            level = Level(hard.wiring.clone(), hard.tables[:, 0].to(torch.uint8))
            nodes = torch.arange(len(level.wiring), device=y.device).split(NODES_AT_ONCE)
            outputs = [level.outputs(some, self.signals[-1][level.wiring[some]]) for some in nodes]
            self.levels.append(level)
            self.signals.append(torch.cat(outputs))
        self.groups = model.groupsum.groups(len(self.signals[-1])).to(y.device)
        self.tau, self.y = model.groupsum.present_tau, y[None]
        counts = torch.zeros(model.groupsum.k, len(x), device=y.device)
        self.counts = counts.index_add_(0, self.groups, self.signals[-1].float())

    def read(self, number: int, node: int) -> Tensor:
        """What a node of a layer reads: `(n, samples)`."""
        return self.signals[number][self.levels[number].wiring[node]]

    def losses(self, counts: Tensor | None = None) -> Tensor:
        """Cross entropy of each sample, with the present counts or others."""
        logits = (self.counts if counts is None else counts) / self.tau
        return logits.logsumexp(0) - logits.gather(0, self.y)[0]

    def totals(self) -> tuple[float, float]:
        """The sum of the losses, and the number of samples that are classed right; the first class wins ties."""
        return self.losses().double().sum().item(), (self.counts.argmax(0) == self.y).sum().item()

    def difference(self, number: int, node: int) -> Tensor:
        """The loss of each sample if a node gives 1, less that if it gives 0."""
        if number + 1 == len(self.levels):
            return self._difference_of_vote(node)
        lost = []
        for value in (0, 1):
            given = torch.full_like(self.y, value, dtype=torch.uint8)
            *_, (_, nodes, outputs) = self._consequences(number, torch.tensor([node], device=given.device), given)
            lost.append(self.losses(self._counted(nodes, outputs)))
        return lost[1] - lost[0]

    def _difference_of_vote(self, node: int) -> Tensor:
        """The same of a node whose output is counted: one count changes by one."""
        group, logits = self.groups[node], self.counts / self.tau
        without = logits[group] - self.signals[-1][node] / self.tau
        logits[group] = -torch.inf
        others = logits.logsumexp(0)
        with_one, with_none = (others.logaddexp(own) for own in (without + 1 / self.tau, without))
        return with_one - with_none - (self.y[0] == group) / self.tau

    def change(self, number: int, node: int, table: Tensor) -> list[Change]:
        """Gives a node a table; returns the nodes that now may give something else, with what they give."""
        level = self.levels[number]
        level.tables[node] = table
        nodes = torch.tensor([node], device=table.device)
        changes = list(self._consequences(number, nodes, level.outputs(nodes, self.read(number, node)[None])))
        self.counts = self._counted(*changes[-1][1:])
        for layer, changed, outputs in changes:
            self.signals[layer + 1][changed] = outputs
        return changes

    def _counted(self, nodes: Tensor, outputs: Tensor) -> Tensor:
        return self.counts.index_add(0, self.groups[nodes], outputs.float() - self.signals[-1][nodes].float())

    def _consequences(self, number: int, nodes: Tensor, outputs: Tensor) -> Iterator[Change]:
        """The changes in all later layers if nodes of one layer give these outputs."""
        yield number, nodes, outputs
        for layer in range(number + 1, len(self.levels)):
            level, signals = self.levels[layer], self.signals[layer]
            place = torch.full((len(signals),), -1, device=nodes.device)
            place[nodes] = torch.arange(len(nodes), device=nodes.device)
            pins = place[level.wiring]  # which of the changed nodes a pin reads, -1 for none
            nodes = (pins >= 0).any(1).nonzero()[:, 0]
            pins, unchanged = pins[nodes][..., None], signals[level.wiring[nodes]]
            outputs = level.outputs(nodes, torch.where(pins >= 0, outputs[pins[..., 0].clamp(min=0)], unchanged))
            yield layer, nodes, outputs


def addresses(read: Tensor) -> Tensor:
    """Bits `(…, n, samples)` to table addresses `(…, samples)`, the first bit least significant."""
    weights = 2 ** torch.arange(read.shape[-2], dtype=torch.int16, device=read.device)
    return (read * weights[:, None]).sum(-2, dtype=torch.int16)
