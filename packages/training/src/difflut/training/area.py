"""What a network costs in hardware, all of it, as a term of the loss."""

from typing import Protocol

import torch
from torch import Tensor

from difflut import kernels
from difflut.circuits import Circuit, bit_costs, estimate_cost, input_words
from difflut.layers import Layer
from difflut.models import LUTNetwork
from difflut.models.graph import ENCODER
from difflut.registry import checked_constructor, register_cost

EPSILON = 1e-6  # keeps the slope of a root finite where nothing varies


class Cost(Protocol):
    """A term of the loss that depends on the network alone; it is made from the network."""

    def begin(self, x: Tensor) -> None:
        """Prepares an epoch; `x` are inputs `(samples, *features)` as they come."""

    def __call__(self) -> Tensor:
        """The term, a differentiable scalar."""


@register_cost("area")
class Area:
    """The price of the LUTs of the hard network: tables, votes, and what the encoder compares; not sums of detectors.

    The gradient passes straight through (arXiv 1308.3432), as that of `dwn` does: the logit of an input gets what the
    cost would change by if it were chosen, and the entries of a table what follows. In LUTs, of six inputs:

    - A table costs one, and its vote too, times the deviation of its entries: a group lasso, which draws a whole table
      to a constant. That costs nothing.
    - A signal that only one pin reads costs that pin what makes it: comparisons of the encoder, or a table of a layer
      before. This is times the root of the share of entries that the pin changes, so that it leaves the table whole.
    - A signal that nobody reads would cost as much where wiring is learned. What is read already is free.

    Args:
        model: Dense layers and a group sum.
        price: Price of a LUT, in mean loss.

    Attributes:
        vote: LUTs of popcount and argmax, for each vote.

    Raises:
        ValueError: A layer is a convolution, there is no group sum, or the price is not positive.
    """

    vote: float

    @checked_constructor
    def __init__(self, model: LUTNetwork, price: float = 1e-4) -> None:
        if price <= 0:
            raise ValueError(f"price={price} must be above 0")
        if model.groupsum is None:
            raise ValueError("the cost of area counts votes, and the network has no group sum")
        for number, layer in enumerate(model.layers):
            if not layer.placements.is_dense:
                raise ValueError(f"layers[{number}] is a convolution; the cost of area needs dense layers")
        self.model, self.price = model, price
        self._makes = torch.empty(0)

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Looks at what the encoder costs, for inputs that are pixels where `x` are bytes, and at the votes."""
        circuit = Circuit.from_model(self.model)
        words = input_words(circuit, x.dtype == torch.uint8)
        bits = torch.from_numpy(bit_costs(circuit, words)).float()
        if not len(self._makes):
            cost = estimate_cost(circuit, words)
            self.vote = (cost.popcount + cost.argmax) / len(circuit.outputs)
            self._number_signals(len(bits))
        order = self.model.bit_order()
        self._makes[: len(bits)] = (bits if order is None else bits[order]).to(self._makes.device)

    def _number_signals(self, bits: int) -> None:
        """Numbers the bits of the encoder, and after them the outputs of each layer."""
        device, end = next(self.model.parameters()).device, bits
        signals = {ENCODER: torch.arange(bits, device=device)}
        for number, layer in enumerate(self.model.layers):
            signals[number] = torch.arange(end, end + layer.out_features, device=device)
            end += layer.out_features
        self._signals = signals
        self._sources = [torch.cat([signals[number] for number in read]) for read in self.model.graph.sources]
        self._makes = torch.ones(end, device=device)  # LUTs that make a signal
        self._votes = torch.zeros(end, device=device)
        for number in self.model.head_sources:
            self._votes[signals[number]] += 1

    @kernels.in_full_precision
    def __call__(self) -> Tensor:
        layers = list(self.model.layers)
        tables = [_hard_table(layer) for layer in layers]
        shares = [_shares(table) for table in tables]
        wirings = [sources[layer.wiring()] for layer, sources in zip(layers, self._sources, strict=True)]
        reads, readers = self._readers(tables, wirings)
        luts = self._makes.new_zeros(())
        for number, layer in enumerate(layers):
            outputs = self._signals[number]
            luts = luts + _deviations(tables[number]) @ ((readers[outputs] > 0) + self.vote * self._votes[outputs])
            alone = self._makes[wirings[number]] * (readers[wirings[number]] == 1) * reads[number]
            luts = luts + (shares[number] * alone).sum()
            logits = layer.choice_logits()
            if logits is not None:
                new = (self._makes * (readers == 0))[self._sources[number]]
                luts = luts + _chosen(logits, layer.choices(), new, alone, reads[number])
        return self.price * luts

    @torch.no_grad()
    def _readers(self, tables: list[Tensor], wirings: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Which pins read, as their table depends on them and is read itself; and the readers of each signal."""
        readers, reads = self._votes.clone(), list[Tensor]()
        for number in reversed(range(len(tables))):
            is_read = (readers[self._signals[number]] > 0).view(tables[number].shape[:2]).any(1, keepdim=True)
            reads.insert(0, _depends(tables[number]) & is_read)
            readers.index_add_(0, wirings[number].flatten(), reads[0].flatten().to(readers))
        return reads, readers


def _hard_table(layer: Layer) -> Tensor:
    """The table of evaluation with the gradient of the soft one: `(L, m, 2**n)`."""
    soft = layer.soft_table().float()
    return kernels.straight_through(layer.hard().tables.to(soft), soft)


def _pairs(table: Tensor) -> list[Tensor]:
    """For each input the differences of entries between which it alone changes: `(L, m * 2**(n - 1))`."""
    n = table.shape[2].bit_length() - 1
    return [table.unflatten(2, (-1, 2, 2**bit)).diff(dim=3).flatten(1) for bit in range(n)]


def _depends(table: Tensor) -> Tensor:
    """Whether each table depends on each of its inputs: `(L, n)`."""
    return torch.stack([pair.any(1) for pair in _pairs(table)], dim=1)


def _shares(table: Tensor) -> Tensor:
    """The root of the share of entries that each input changes: `(L, n)`."""
    return torch.stack([(pair.square().mean(1) + EPSILON).sqrt() for pair in _pairs(table)], dim=1)


def _deviations(table: Tensor) -> Tensor:
    """Twice the standard deviation of the entries of each output, 1 where half of them are 1: `(L * m,)`."""
    return 2 * (table.var(2, correction=0) + EPSILON).sqrt().flatten()


def _chosen(logits: Tensor, choices: Tensor | None, new: Tensor, alone: Tensor, reads: Tensor) -> Tensor:
    """A scalar whose gradient is what each choice of a pin would cost.

    Args:
        logits: `(L, n, K)`, of the choices.
        choices: The inputs among which pins choose, `(L, n, K)`; None for all.
        new: What it costs to read an input that nobody reads, 0 for others. `(features,)`
        alone: What it costs that a pin alone reads its input. `(L, n)`
        reads: Whether pins read. `(L, n)`
    """
    prices = new.expand(logits.shape) if choices is None else new[choices]
    prices = prices.scatter(2, logits.argmax(2, keepdim=True), alone[..., None])
    return (logits * prices * reads[..., None]).sum()
