"""A small neural network in each node: NeuraLUT (arXiv 2403.00849)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.corners import corners
from difflut.nodes.node import Node, as_features, takes_choices
from difflut.nodes.parts import draw_by_row
from difflut.nodes.relaxation import logistic_noise, relaxed_bernoulli
from difflut.registry import register_node


@register_node("neurallut")
class NeuralLUT(Node):
    """A ReLU network of the node's inputs, tabulated after training (NeuraLUT, arXiv 2403.00849).

    Args:
        hidden_width: Units of each hidden layer.
        depth: Hidden layers.
        skip_interval: Layers that a skip spans, at most all `depth + 1`; 0 for no skips. An affine map of the input of
            the first is added to the output of the last.
        temperature: Temperature of the relaxed samples; it acts in training only.
        noise: Whether to add logistic noise to the output in training, so that samples have the table's probabilities.
        straight_through: Whether training rounds the output to a bit, with the relaxed gradient.

    Raises:
        ValueError: A width, a depth, an interval or the temperature is out of range.
    """

    holds_every_table = False

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        hidden_width: int = 8,
        depth: int = 2,
        skip_interval: int = 2,
        temperature: float = 1.0,
        noise: bool = False,
        straight_through: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **options)
        for name, value, least in (
            ("hidden_width", hidden_width, 1),
            ("depth", depth, 1),
            ("skip_interval", skip_interval, 0),
        ):
            if value < least:
                raise ValueError(f"NeuralLUT: {name}={value} must be at least {least}")
        if skip_interval > depth + 1:
            raise ValueError(
                f"NeuralLUT: skip_interval={skip_interval} must be at most {depth + 1}, the layers of depth={depth} "
                "and the output layer; 0 for no skips"
            )
        self.check_positive(temperature=temperature)
        self.hidden_width, self.depth, self.skip_interval = hidden_width, depth, skip_interval
        self.temperature, self.noise, self.straight_through = temperature, noise, straight_through
        widths = [input_dim] + depth * [hidden_width] + [output_dim]
        layers = nn.ModuleList(_AffineBank(self.num_nodes, i, o) for i, o in pairwise(widths))
        self.layers = cast(Sequence[_AffineBank], layers)
        starts = range(0, len(self.layers) - skip_interval + 1, skip_interval) if skip_interval else ()
        skips = {str(s): _AffineBank(self.num_nodes, widths[s], widths[s + skip_interval]) for s in starts}
        self.skips = cast(Mapping[str, _AffineBank], nn.ModuleDict(skips))
        self.reset_parameters()

    def soft_table(self) -> Tensor:
        return torch.sigmoid(self._corner_logits())

    @takes_choices
    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        if len(x) >= 2**self.input_dim and not x.requires_grad and kernels.are_bits(x):
            logits = kernels.lookup(x, wiring, self._corner_logits(), use_cuda=self.use_cuda)
        else:
            logits = as_features(
                self._network(kernels.gather(x, wiring)), kernels.placed(wiring, x.shape[1]).placements.count
            )
        noise = draw_by_row(logits, logistic_noise) if self.noise and self.training else None
        return relaxed_bernoulli(logits, self.temperature, noise, self.straight_through)

    def _corner_logits(self) -> Tensor:
        return self._network(corners(self.input_dim, like=self.layers[0].bias).T)

    def _network(self, x: Tensor) -> Tensor:
        """`(L, n, batch)`, or `(n, batch)` where all nodes read the same, to logits `(L, m, batch)`."""
        skipped: dict[int, Tensor] = {}
        for i, layer in enumerate(self.layers):
            if str(i) in self.skips:
                skipped[i + self.skip_interval] = self.skips[str(i)](x)
            x = layer(x)
            if i + 1 in skipped:
                x += skipped.pop(i + 1)
            if i + 1 < len(self.layers):
                x.relu_()
        return x

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        # The first hidden units hand the inputs on, so that every affine function is within reach; the output layer
        # then fits the logits by least squares on the last hidden layer.
        carried = min(self.input_dim, self.hidden_width)
        for layer in self.layers[:-1]:
            layer.weight[:, :carried] = torch.eye(carried, layer.weight.shape[2])
            layer.bias[:, :carried] = 0
        for skip in self.skips.values():
            skip.weight.zero_()
            skip.bias.zero_()
        hidden = corners(self.input_dim, like=table).T
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        basis = torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)
        logits = torch.logit(table, eps=1e-6)
        solution = logits @ torch.linalg.pinv(basis)
        self.layers[-1].weight.copy_(solution[..., :-1])
        self.layers[-1].bias.copy_(solution[..., -1])


class _AffineBank(nn.Module):
    """An affine map in each of `num_nodes` networks: `(L, inputs, batch)` to `(L, outputs, batch)`."""

    def __init__(self, num_nodes: int, inputs: int, outputs: int) -> None:
        super().__init__()
        # Kaiming's uniform bound for ReLU.
        bound = (6 / inputs) ** 0.5
        self.weight = nn.Parameter(torch.empty(num_nodes, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_nodes, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight @ x).add_(self.bias[..., None])
