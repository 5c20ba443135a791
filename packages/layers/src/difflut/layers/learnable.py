"""Learned wiring."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.kernels.facts import known, note
from difflut.layers.drawn import Drawn
from difflut.layers.hard import with_placements
from difflut.layers.shapes import InputSize
from difflut.layers.wiring import check_inputs
from difflut.nodes import HardLookup, Node
from difflut.nodes.promises import relaxed_of_choices
from difflut.nodes.relaxation import gumbel_noise
from difflut.registry import register_layer

SELECTIONS = ("straight_through", "soft")
TAU = 0.001
BELOW_BEST = 0.05  # of a new candidate's weight: five steps of Adam at 0.01
TAU_START, TAU_END, TAU_STEPS = 1.0, 0.05, 2000


@register_layer("learnable")
class Learnable(Drawn):
    """Each pin of a node chooses its input by learned weights; the hard wiring is their argmax.

    With `selection="straight_through"` training reads the chosen input, as evaluation does, and the weights get the
    gradient `(2x - 1) g` of every candidate (DWN, arXiv 2410.11112, section 3.2). With `"soft"` training reads a
    softmax mixture whose temperature falls from `tau_start` to `tau_end` over the first `tau_steps` training steps.

    Where the weights need no gradient (`logits.requires_grad_(False)`) the wiring stays, and training reads through it
    as a layer with fixed wiring does, in the same time.

    Args:
        input_size, output_size, node_type, n: See `Layer`; for the options not named here, too, and `Drawn`.
        selection: `"straight_through"` or `"soft"`.
        top_k: Candidates of each pin, drawn evenly from the input (LILogicNet, arXiv 2511.12340); all inputs of the
            window where it is not given. There are `L * n * top_k` weights instead of one for each input and pin.
        tau: Temperature of the softmax through which straight-through selection sends the gradient of its input; a
            layer that reads bits of thresholds that are not learned has none to send.
        tau_start: First temperature of soft selection; this and the next two are for soft selection only.
        tau_end: Last temperature of soft selection.
        tau_steps: Training steps over which soft selection's temperature falls, geometrically.
        gumbel: Whether soft selection adds Gumbel noise to its weights in training.

    Raises:
        ValueError: An option is out of range, or without effect.
    """

    candidates: Tensor | None
    steps: Tensor

    def __init__(
        self,
        input_size: InputSize,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        *,
        selection: str = "straight_through",
        top_k: int | None = None,
        tau: float = TAU,
        tau_start: float = TAU_START,
        tau_end: float = TAU_END,
        tau_steps: int = TAU_STEPS,
        gumbel: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(input_size, output_size, node_type, n, **options)
        if selection not in SELECTIONS:
            raise ValueError(f"selection={selection!r} must be one of {', '.join(SELECTIONS)}")
        if not 0 < tau_end <= tau_start or tau <= 0 or tau_steps < 1:
            raise ValueError(
                f"needs tau > 0, tau_start >= tau_end > 0 and tau_steps >= 1, "
                f"got tau={tau}, tau_start={tau_start}, tau_end={tau_end}, tau_steps={tau_steps}"
            )
        if selection != "soft" and (tau_start, tau_end, tau_steps) != (TAU_START, TAU_END, TAU_STEPS):
            raise ValueError(
                f"tau_start={tau_start}, tau_end={tau_end} and tau_steps={tau_steps} need selection='soft', "
                f"whose temperature falls; got {selection!r}"
            )
        if selection == "soft" and tau != TAU:
            raise ValueError(
                f"tau={tau} needs selection='straight_through'; that of 'soft' goes from tau_start to tau_end"
            )
        if gumbel and selection != "soft":
            raise ValueError(f"gumbel=True needs selection='soft', got {selection!r}")
        self.selection, self.top_k, self.gumbel = selection, top_k, gumbel
        if top_k is not None and not 1 <= top_k <= self.reach:
            raise ValueError(f"top_k={top_k} must lie between 1 and {self.reach}, the inputs that a node can read")
        self.tau, self.tau_start, self.tau_end, self.tau_steps = tau, tau_start, tau_end, tau_steps
        if top_k is None and self.has_parts:
            raise ValueError(
                f"window={self.window}, channels_per_node={self.channels_per_node} and groups={self.groups} need "
                "top_k, the number of candidates that a pin has among them"
            )
        pins, generator = self.node.num_nodes * self.n, self.generator()
        self.register_buffer("candidates", self.drawn(pins, top_k, generator) if top_k else None)
        shape = (self.placements.window, pins) if top_k is None else (pins, top_k)
        self.logits = nn.Parameter(torch.rand(shape, generator=generator))
        self.register_buffer("steps", torch.zeros(()))

    @torch.no_grad()
    def redraw(self, generator: torch.Generator) -> None:
        """Draws half of each pin's candidates anew, those with the smallest weights, from the same window or channels.

        New ones weigh a little less than the present choice, so some steps of training decide between them (after
        CompactLogic, arXiv 2602.05830). One that the pin has already changes nothing.
        """
        if self.candidates is None or self.top_k is None or not self.chooses_among_few:
            return
        half = self.top_k // 2
        fresh = self.drawn(len(self.candidates), half, self.generator(), generator).to(self.candidates.device)
        least = self.logits.topk(half, 1, largest=False).indices
        in_order = self.candidates.sort(1).values
        place = torch.searchsorted(in_order, fresh).clamp(max=self.top_k - 1)
        held = in_order.gather(1, place) == fresh
        weight = self.logits.amax(1, keepdim=True) - BELOW_BEST
        self.logits.scatter_(1, least, torch.where(held, self.logits.gather(1, least), weight))
        self.candidates.scatter_(1, least, torch.where(held, self.candidates.gather(1, least), fresh))

    @property
    def learns_wiring(self) -> bool:
        """Whether training may change what the pins read."""
        logits: Tensor = self.logits
        return logits.requires_grad

    @property
    def chooses_among_few(self) -> bool:
        """Whether its pins have candidates, and there are others that they could have."""
        return self.top_k is not None and 1 < self.top_k < self.reach

    def wiring(self) -> Tensor:
        if self.learns_wiring:
            return self._best()
        wiring: Tensor | None = known(self.logits, "wiring")
        if wiring is None:
            wiring = self._best()
            note(self.logits, "wiring", wiring)
        return wiring

    def _best(self) -> Tensor:
        if self.candidates is None:
            chosen = kernels.best_inputs(self.logits)
        else:
            chosen = self.candidates.gather(1, self.logits.argmax(1, keepdim=True))
        return chosen.view(self.node.num_nodes, self.n)

    def choices(self) -> Tensor | None:
        return None if self.candidates is None else self.candidates.view(self.node.num_nodes, self.n, -1)

    def choice_logits(self) -> Tensor | None:
        pins_first = self.logits.t() if self.candidates is None else self.logits
        return pins_first.unflatten(0, (self.node.num_nodes, self.n))

    @torch.no_grad()
    def load_wiring(self, wiring: Tensor) -> None:
        axis, chosen = 0, wiring.reshape(1, -1)
        if self.candidates is not None:
            matches = self.candidates == wiring.reshape(-1, 1)
            if not matches.any(1).all():
                raise ValueError("a pin is to read what is not among its candidates")
            axis, chosen = 1, matches.byte().argmax(1, keepdim=True)
        moved = (wiring != self.wiring()).view_as(chosen)
        best = self.logits.amax(axis, keepdim=True)
        # Raised by a step that sixteen bits can tell, so that the chosen one alone is the largest.
        raised = torch.where(moved, best + best.abs().clamp(min=1) / 16, self.logits.gather(axis, chosen))
        self.logits.scatter_(axis, chosen, raised)

    def check_state(self) -> None:
        super().check_state()
        if self.candidates is not None:
            check_inputs(self.candidates, self.placements.window)

    def relaxed(self, x: Tensor | kernels.Bits) -> Tensor:
        node = self.node
        if not self.learns_wiring:
            return super().relaxed(x)
        if self.selection == "soft":
            return node(self._mixture(x), self._pins_of_nodes())
        choice = kernels.Choice(x, self.logits, self.candidates, self.placements, self.tau, node.use_cuda)
        pins, relaxed = self._pins_of_nodes(), relaxed_of_choices(node)
        return node(choice.float(), pins) if relaxed is None else relaxed(choice, pins)

    def bank(self, node: HardLookup) -> kernels.LearnedBank:
        """What `kernels.learned_lookup` needs besides its input."""
        table, slope = node.tables(needs_slope=True)
        assert slope is not None  # `tables` was asked for the slope
        return kernels.LearnedBank(self.logits, table, slope, self.candidates, self.placements, self.tau)

    def temperature(self) -> Tensor:
        """The present temperature of soft selection, a scalar tensor."""
        progress = (self.steps / self.tau_steps).clamp(max=1)
        return self.tau_start * (self.tau_end / self.tau_start) ** progress

    def _pins_of_nodes(self) -> kernels.Wiring:
        """The wiring of nodes in an image that has one channel for each pin, which holds what the pin has read."""
        where, pins = self.placements, kernels.own_inputs(self.node.num_nodes, self.n, self.logits.device)
        return with_placements(pins, kernels.Placements(pins.numel(), where.out_height, where.out_width))

    def _mixture(self, x: Tensor | kernels.Bits) -> Tensor:
        logits: Tensor = self.logits
        if self.training:
            self.steps += 1
            if self.gumbel:
                logits = logits + gumbel_noise(logits)
        logits = logits / self.temperature()
        weights = logits.softmax(0).t() if self.candidates is None else logits.softmax(1)
        return kernels.mix(x, weights, self.candidates, self.placements)
