"""Refining the hard network itself: tables and wiring, one node at a time."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from difflut.circuits import Circuit, bit_costs, input_words, sum_costs
from difflut.models import LUTNetwork
from difflut.registry import checked_constructor, register_refinement
from difflut.training.hard_state import HardState, addresses
from difflut.training.pins import Pins, may_move

ROWS = 15_000
UNIT = 2.0**-24  # of losses that are added up


class Refinement(Protocol):
    """A change of the hard network without gradients; it is made from the network.

    Attributes:
        copies: Number of times that an epoch sees the samples, each time augmented in another way.
        redraws: Whether each epoch sees other copies; otherwise all see one set of them, and the samples themselves.
    """

    copies: int
    redraws: bool

    def begin(self, x: Tensor, y: Tensor) -> HardState:
        """The network as it is, with samples `(samples, *features)` and class indices on the model's device."""

    def visits(self, state: HardState, generator: torch.Generator) -> Iterator[int]:
        """Visits all nodes once, and yields the number of visits after each; the model follows at the end.

        All randomness is that of a generator on the CPU.
        """


@register_refinement("coordinate_descent")
class CoordinateDescent:
    """Gives each node in turn the table, and the inputs, with which the loss is lowest while all others stay.

    Let `d` be the loss of a sample if the node gives 1, less its loss if the node gives 0. The best table is 1 at the
    addresses over whose samples the sum of `d` is negative, and what the node is worth, its loss at best against that
    at worst, is the sum of the magnitudes of these sums. So tables are exact, and a pin moves to that of its candidates
    with which the node is worth most. The loss is the cross entropy of the hard network: nothing is relaxed.

    Args:
        model: A chain of dense layers of nodes that hold every table, with one output each, and a group sum.
        rows: Samples, drawn anew for each epoch, on which pins choose; tables are set on all, and a pin stays where its
            choice is worth nothing on all.
        moves: Pins that may move at each visit of a node; those of a random wiring stay.
        copies: Number of times that an epoch sees the samples, each time augmented in another way.
        redraws: Whether each epoch sees other copies. Otherwise all see the samples as they are and beside them one set
            of copies, on which descent settles.
        price: Price of each table of the encoder, in mean loss: a pin moves to a bit that nobody reads only if that is
            worth more than the tables that compute it, those of detectors included where nobody reads their response.

    Raises:
        ValueError: The model is of another form, or a number is out of range or without effect.
    """

    @checked_constructor
    def __init__(
        self,
        model: LUTNetwork,
        rows: int = ROWS,
        moves: int = 1,
        copies: int = 1,
        price: float = 0.0,
        redraws: bool = True,
    ) -> None:
        if rows < 1 or moves < 0 or copies < 1 or price < 0:
            raise ValueError(
                "needs rows >= 1, moves >= 0, copies >= 1 and price >= 0, "
                f"got rows={rows}, moves={moves}, copies={copies}, price={price}"
            )
        _check(model)
        _check_moves(model, rows, moves, price)
        self.model, self.rows, self.moves = model, rows, moves
        self.copies, self.price, self.redraws = copies, price, redraws

    def begin(self, x: Tensor, y: Tensor) -> HardState:
        return HardState(self.model, x, y)

    @torch.no_grad()
    def visits(self, state: HardState, generator: torch.Generator) -> Iterator[int]:
        layers = list(self.model.layers)
        samples, device = state.counts.shape[1], state.counts.device
        rows = torch.randperm(samples, generator=generator)[: self.rows].to(device)
        pins = [
            Pins(level, layer.choices(), read[:, rows].float())
            for layer, level, read in zip(layers, state.levels, state.signals[:-1], strict=True)
        ]
        if self.price and self.model.encoder is not None:
            bit_prices, feature_prices = self._prices(state)
            pins[0].prices = bit_prices.to(device)
            pins[0].feature_prices = feature_prices.to(device) if feature_prices.any() else None
        nodes = [(number, node) for number, level in enumerate(state.levels) for node in range(len(level.wiring))]
        order = torch.randperm(len(nodes), generator=generator).tolist()
        for visit, (number, node) in enumerate((nodes[i] for i in order), start=1):
            d, table = state.difference(number, node), state.levels[number].tables[node]
            sums = _sums(addresses(state.read(number, node)), d, len(table))
            for _ in range(self.moves):
                found = pins[number].best_move(node, d[rows])
                if found is None:
                    break
                paid, back = pins[number].paid(), pins[number].move(node, *found)
                moved = _sums(addresses(state.read(number, node)), d, len(table))
                gained = UNIT * (moved.abs().sum() - sums.abs().sum()) / samples - (pins[number].paid() - paid)
                if gained <= 0:  # the best of many moves on a few samples is often none on all
                    pins[number].move(node, *back)
                    break
                sums = moved
            table = torch.where(sums == 0, table, (sums < 0).to(torch.uint8))
            for after, changed, outputs in state.change(number, node, table):
                if after + 1 < len(layers):
                    pins[after + 1].bits[changed] = outputs[:, rows].float()
            yield visit
        for layer, level in zip(layers, state.levels, strict=True):
            layer.load_wiring(level.wiring)
            layer.node.load_table(level.tables[:, None].float())

    def _prices(self, state: HardState) -> tuple[Tensor, Tensor]:
        """The prices of each bit and of each feature of the encoder that no pin reads yet, in mean loss."""
        circuit = Circuit.from_model(self.model)
        words = input_words(circuit, state.reads_pixels)
        bits, features = (torch.from_numpy(costs(circuit, words)).float() for costs in (bit_costs, sum_costs))
        return self.price * bits, self.price * features


def _sums(address: Tensor, d: Tensor, size: int) -> Tensor:
    """The sum of `d (samples,)` over the samples of each address, in whole numbers of `UNIT`: `(size,)`."""
    # Sums of whole numbers are the same in any order, so that a GPU repeats them.
    return torch.zeros(size, dtype=torch.int64, device=d.device).index_add_(
        0, address.long(), (d / UNIT).round().long()
    )


def _check(model: LUTNetwork) -> None:
    if model.groupsum is None:
        raise ValueError("coordinate descent needs a group sum, whose classes the loss compares; the network has none")
    last = len(model.layers) - 1
    for number, (layer, sources) in enumerate(zip(model.layers, model.graph.sources, strict=True)):
        name = f"layers[{number}]"
        if not layer.placements.is_dense:
            raise ValueError(f"{name} is a convolution; coordinate descent needs dense layers")
        if sources != (number - 1,):
            raise ValueError(
                f"{name} has reads={layer.reads}; coordinate descent needs layers that read the one before"
            )
        if layer.node.output_dim != 1 or not layer.node.holds_every_table:
            kind, outputs = type(layer.node).__name__, layer.node.output_dim
            raise ValueError(
                f"{name} has nodes {kind} of {outputs} outputs; coordinate descent needs nodes of one output that "
                "hold every table, such as dwn"
            )
    if model.head_sources != (last,):
        raise ValueError(f"the group sum reads {model.groupsum.reads}; coordinate descent needs the last layer alone")


def _check_moves(model: LUTNetwork, rows: int, moves: int, price: float) -> None:
    """Refuses options of moves where no pin may move."""
    movable = [moves > 0 and may_move(layer.choices()) for layer in model.layers]
    if not any(movable) and (rows != ROWS or moves > 1):
        raise ValueError(
            f"rows={rows} and moves={moves} have no effect: with moves=0, or where all wiring is random, no pin moves; "
            "leave them out, or take learnable layers"
        )
    if price and (model.encoder is None or not movable[0]):
        reason = "the network has no encoder" if model.encoder is None else "no pin of the first layer may move"
        raise ValueError(f"price={price} of the encoder's tables has no effect: {reason}; leave it out")
