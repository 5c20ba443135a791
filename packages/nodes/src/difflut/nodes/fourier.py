"""Fourier nodes: a bounded cosine series of the inputs."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.nodes.corners import walsh_matrix
from difflut.nodes.node import Node, takes_choices
from difflut.registry import register_node


@register_node("fourier")
class Fourier(Node):
    """A cosine series with frequencies in {0, 1/2}**n: `v = b + A * sum_k p_k cos(2 pi <k, x> + phase_k)`.

    The amplitudes `p` are a softmax, so the series stays within `A` of its bias. The output is `sigmoid(4 v - 2)`: it
    has the value 1/2 and the slope 1 of `v` where `v = 1/2`, and unlike clamping to [0, 1] it never loses the gradient.

    Args:
        max_amplitude: `A`, the largest distance of the series from its bias.
    """

    holds_every_table = False

    def __init__(self, input_dim: int = 6, output_dim: int = 1, max_amplitude: float = 1.0, **options: Any) -> None:
        super().__init__(input_dim, output_dim, **options)
        self.check_positive(max_amplitude=max_amplitude)
        self.max_amplitude = max_amplitude
        shape = (self.num_nodes, output_dim, 2**input_dim)
        self.amplitude_logits = nn.Parameter(torch.randn(shape))
        self.phase = nn.Parameter(torch.empty(shape).uniform_(-math.pi, math.pi))
        self.bias = nn.Parameter(torch.full(shape[:2], 0.5))
        self.reset_parameters()

    def _logit_series(self) -> tuple[Tensor, Tensor]:
        """The coefficients of `4 v - 2`: those of cosines, where frequency 0 is the constant, and of sines."""
        amplitudes = 4 * self.max_amplitude * self.amplitude_logits.softmax(-1)
        cosines = amplitudes * self.phase.cos()
        cosines[..., 0] += 4 * self.bias - 2
        return cosines, -amplitudes * self.phase.sin()

    def soft_table(self) -> Tensor:
        # At the corners <2 pi k, x> is a multiple of pi: cosines are Walsh functions and sines vanish.
        cosines, _ = self._logit_series()
        return torch.sigmoid(cosines @ walsh_matrix(self.input_dim, like=cosines))

    @takes_choices
    def relaxed(self, x: Tensor | kernels.Bits | kernels.Choice, wiring: kernels.Wiring) -> Tensor:
        if not x.requires_grad and kernels.are_bits(x):
            return kernels.lookup(x, wiring, self.soft_table(), use_cuda=self.use_cuda)
        return torch.sigmoid(kernels.fourier(x, wiring, *self._logit_series(), use_cuda=self.use_cuda))

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
