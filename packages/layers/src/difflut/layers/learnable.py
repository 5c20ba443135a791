"""Learned wiring."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.layers.layer import Layer
from difflut.layers.wiring import check_inputs, draw_wiring
from difflut.nodes import HardLookup, Node
from difflut.nodes.relaxation import gumbel_noise
from difflut.registry import register_layer

SELECTIONS = ("straight_through", "soft")


@register_layer("learnable")
class Learnable(Layer):
    """Each pin of a node chooses its input by learned weights; the hard wiring is their argmax.

    With `selection="straight_through"` training reads the chosen input, as evaluation does, and the weights get the
    gradient `(2x - 1) g` of every candidate (DWN, arXiv 2410.11112, section 3.2). With `"soft"` training reads a
    softmax mixture whose temperature falls from `tau_start` to `tau_end` over the first `tau_steps` training steps.

    Args:
        input_size, output_size, node_type, n: See `Layer`, as for the options not named here.
        selection: `"straight_through"` or `"soft"`.
        top_k: Candidates of each pin, drawn evenly from the input (LILogicNet, arXiv 2511.12340); all inputs where it
            is not given. There are `L * n * top_k` weights instead of `L * n * input_size`.
        tau: Temperature of the softmax through which straight-through selection sends the gradient of its input.
        tau_start: First temperature of soft selection.
        tau_end: Last temperature of soft selection.
        tau_steps: Training steps over which soft selection's temperature falls, geometrically.
        gumbel: Whether soft selection adds Gumbel noise to its weights in training.
        image_shape: Height and width of the image that the layer reads, where candidates are drawn from windows of it.
        window: Side of these windows, one for all pins of a node (see `local_wiring`).

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        *,
        selection: str = "straight_through",
        top_k: int | None = None,
        tau: float = 0.001,
        tau_start: float = 1.0,
        tau_end: float = 0.05,
        tau_steps: int = 2000,
        gumbel: bool = False,
        image_shape: Sequence[int] | None = None,
        window: int | None = None,
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
        self.selection, self.top_k, self.gumbel = selection, top_k, gumbel
        if top_k is not None and not 1 <= top_k <= input_size:
            raise ValueError(f"top_k={top_k} must lie between 1 and input_size={input_size}")
        self.tau, self.tau_start, self.tau_end, self.tau_steps = tau, tau_start, tau_end, tau_steps
        if window and not top_k:
            raise ValueError(f"window={window} needs top_k, the number of candidates that it holds for each pin")
        self.image_shape, self.window = image_shape and list(image_shape), window
        pins, generator = self.node.num_nodes * self.n, self.generator()
        place = input_size, pins, top_k, generator, image_shape, window
        candidates = draw_wiring(*place, together=self.n) if top_k else None
        self.register_buffer("candidates", candidates)
        shape = (pins, top_k) if top_k else (input_size, pins)
        self.logits = nn.Parameter(torch.rand(shape, generator=generator))
        self.register_buffer("steps", torch.zeros(()))

    def wiring(self) -> Tensor:
        if self.candidates is None:
            chosen = kernels.best_inputs(self.logits)
        else:
            chosen = self.candidates.gather(1, self.logits.argmax(1, keepdim=True))
        return chosen.view(self.node.num_nodes, self.n)

    def check_state(self) -> None:
        super().check_state()
        if self.candidates is not None:
            check_inputs(self.candidates, self.input_size)

    @property
    def is_lookup(self) -> bool:
        """Not while the wiring learns."""
        return super().is_lookup and not self.is_relaxed

    def relaxed(self, x: Tensor | kernels.Bits) -> Tensor:
        node = self.node
        if self.selection == "soft":
            return node(self._mixture(x.float() if isinstance(x, kernels.Bits) else x))
        choice = {"tau": self.tau, "use_cuda": node.use_cuda}
        if isinstance(node, HardLookup):
            return kernels.learned_lookup(x, self.logits, *node.tables(needs_slope=True), self.candidates, **choice)
        return node(kernels.select(x, self.logits, self.candidates, **choice))

    def temperature(self) -> Tensor:
        """The present temperature of soft selection, a scalar tensor."""
        progress = (self.steps / self.tau_steps).clamp(max=1)
        return self.tau_start * (self.tau_end / self.tau_start) ** progress

    def _mixture(self, x: Tensor) -> Tensor:
        logits = self.logits
        if self.training:
            self.steps += 1
            if self.gumbel:
                logits = logits + gumbel_noise(logits)
        if self.candidates is None:
            return x @ (logits / self.temperature()).softmax(0)
        weights = (logits / self.temperature()).softmax(1)
        inputs = x.t()[self.candidates]  # (pins, top_k, batch)
        return (weights[:, None] @ inputs)[:, 0].t()
