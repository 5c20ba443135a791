"""The Fourier series."""

import torch
from torch import Tensor

from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, feature_major
from difflut.kernels.cuda.wires import wires_of


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """The Fourier series, (batch, L * m), and the waves of x, (2, features, batch)."""
    rows, (batch, features) = feature_major(x), x.shape
    waves = rows.new_empty(2, features, batch)
    launch("fourier_waves", rows, waves, rows.numel())
    y = cosines.new_empty(cosines.shape[0] * cosines.shape[1], batch)
    given = waves, wires_of(wiring, features).wiring, aligned(cosines), aligned(sines)
    launch("fourier", *given, y, batch, features, *bank_sizes(wiring, cosines))
    return y.t(), waves


def fourier_gradients(
    waves: Tensor,
    wiring: Tensor,
    cosines: Tensor,
    sines: Tensor,
    grad: Tensor,
    features: int,
    needs_x: bool,
    needs_coefficients: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x (batch, features), cosines and sines (L, m, 2**n), where they are needed."""
    x_grad = cosines_grad = sines_grad = None
    wires, grad = wires_of(wiring, features), feature_major(grad)
    sizes = grad.shape[1], features, *bank_sizes(wiring, cosines)
    if needs_x:
        x_grad = torch.empty_like(waves[0])
        coefficients = aligned(cosines), aligned(sines)
        launch("fourier_input_gradient", waves, wires.wiring, *wires.readers(), *coefficients, grad, x_grad, *sizes)
        x_grad = x_grad.t()
    if needs_coefficients:
        cosines_grad, sines_grad = grad.new_empty(cosines.shape), grad.new_empty(cosines.shape)
        launch("fourier_coefficient_gradient", waves, wires.wiring, grad, cosines_grad, sines_grad, *sizes)
    return x_grad, cosines_grad, sines_grad
