"""Fourier nodes: a bounded cosine series of the inputs."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.corners import walsh_matrix
from difflut.nodes.node import Node, as_features, gather
from difflut.registry import register_node


@register_node("fourier")
class Fourier(Node):
    """A cosine series with frequencies in {0, 1/2}**n: `v = b + A * sum_k p_k cos(2 pi <k, x> + phase_k)`.

    The amplitudes `p` are a softmax, so the series stays within `A` of its bias. The output is `sigmoid(4 v - 2)`: it
    has the value 1/2 and the slope 1 of `v` where `v = 1/2`, and unlike clamping to [0, 1] it never loses the gradient.

    Args:
        max_amplitude: `A`, the largest distance of the series from its bias.
    """

    def __init__(self, input_dim: int = 6, output_dim: int = 1, max_amplitude: float = 1.0, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        if max_amplitude <= 0:
            raise ValueError(f"Fourier: max_amplitude={max_amplitude} must be positive")
        self.max_amplitude = max_amplitude
        shape = (self.num_nodes, output_dim, 2**input_dim)
        self.amplitude_logits = nn.Parameter(torch.randn(shape))
        self.phase = nn.Parameter(torch.empty(shape).uniform_(-math.pi, math.pi))
        self.bias = nn.Parameter(torch.full(shape[:2], 0.5))
        self.reset_parameters()

    def _cosines_and_sines(self) -> tuple[Tensor, Tensor]:
        amplitudes = self.max_amplitude * self.amplitude_logits.softmax(-1)
        return amplitudes * self.phase.cos(), amplitudes * self.phase.sin()

    def soft_table(self) -> Tensor:
        # At the corners <2 pi k, x> is a multiple of pi: cosines are Walsh functions and sines vanish.
        cosines, _ = self._cosines_and_sines()
        series = cosines @ walsh_matrix(self.input_dim, like=cosines) + self.bias[..., None]
        return torch.sigmoid(4 * series - 2)

    def relaxed(self, x: Tensor, wiring: Tensor) -> Tensor:
        # exp(i <2 pi k, x>) is a product over the inputs, so the sum over all frequencies splits into the lower half
        # of the inputs and the upper half: 2**(n/2) waves each instead of 2**n together.
        angles = math.pi * gather(x, wiring)
        units = torch.complex(angles.cos(), angles.sin())
        half = self.input_dim // 2
        low, high = self._waves(units[:, :half]), self._waves(units[:, half:])
        coefficients = torch.complex(*self._cosines_and_sines()).unflatten(-1, (high.shape[1], low.shape[1]))
        inner = coefficients.flatten(1, 2) @ low
        series = (inner.unflatten(1, (self.output_dim, -1)) * high[:, None]).sum(2).real
        return as_features(torch.sigmoid(4 * (series + self.bias[..., None]) - 2))

    @staticmethod
    def _waves(units: Tensor) -> Tensor:
        """The product over every subset of the inputs: `(L, inputs, batch)` to `(L, 2**inputs, batch)`."""
        waves = units.new_ones(len(units), 1, units.shape[2])
        for unit in units.unbind(1):
            waves = torch.cat([waves, waves * unit[:, None]], dim=1)
        return waves

    @torch.no_grad()
    def load_table(self, table: Tensor) -> None:
        series = 0.5 + torch.logit(table, eps=1e-6) / 4
        spectrum = series @ walsh_matrix(self.input_dim, like=table) / table.shape[-1]
        self.bias.copy_(spectrum[..., 0])
        spectrum[..., 0] = 0
        amplitudes = spectrum.abs() / self.max_amplitude
        amplitudes /= amplitudes.sum(-1, keepdim=True).clamp(min=1)
        # A wave at a right angle is 0 at every corner: so stand the unused ones, and frequency 0 with all the amplitude
        # that the table leaves. None is quite 0, so that all can be learned.
        least = 1e-3 / table.shape[-1]
        self.phase.copy_(torch.where(spectrum < 0, math.pi, 0.0).where(amplitudes > least, math.pi / 2))
        amplitudes.clamp_(min=least)
        amplitudes[..., 0] = (1 - amplitudes[..., 1:].sum(-1)).clamp(min=least)
        self.amplitude_logits.copy_(amplitudes.log())
