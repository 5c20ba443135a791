"""The Fourier series."""

import torch
from torch import Tensor

from difflut.kernels.bits import Bits
from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, feature_major, image_of, scratch
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.placements import Placements


def fourier(
    x: Tensor | Bits, wiring: Tensor, cosines: Tensor, sines: Tensor, placements: Placements
) -> tuple[Tensor, Kept]:
    """See `Backend.fourier`; the waves of x are kept, (2, features, batch)."""
    x = x.float() if isinstance(x, Bits) else x
    rows, (batch, features) = feature_major(x), x.shape
    waves = rows.new_empty(2, features, batch)
    launch("fourier_waves", rows, waves, rows.numel())
    y = cosines.new_empty(cosines.shape[0] * cosines.shape[1] * placements.count, batch)
    arguments = waves, wires_of(wiring, placements).wiring, image_of(placements), aligned(cosines), aligned(sines)
    launch("fourier", *arguments, y, batch, features, *bank_sizes(wiring, cosines))
    return y.t(), Kept(waves, batch, "values")


def fourier_gradients(
    kept: Kept,
    wiring: Tensor,
    cosines: Tensor,
    sines: Tensor,
    grad: Tensor,
    placements: Placements,
    needs_x: bool,
    needs_coefficients: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """See `Backend.fourier_gradients`."""
    x_grad = cosines_grad = sines_grad = None
    waves, wires, grad = kept.data, wires_of(wiring, placements), feature_major(grad)
    arguments = waves, wires.wiring, image_of(placements)
    sizes = kept.batch, placements.features, *bank_sizes(wiring, cosines)
    if needs_x:
        x_grad = torch.empty_like(waves[0])
        coefficients = aligned(cosines), aligned(sines)
        launch("fourier_input_gradient", *arguments, *wires.readers(), *coefficients, grad, x_grad, *sizes)
        x_grad = x_grad.t()
    if needs_coefficients:
        cosines_grad, sines_grad = grad.new_empty(cosines.shape), grad.new_empty(cosines.shape)
        parts = min(placements.count, -(-2048 // max(1, cosines.shape[0] * cosines.shape[1])))
        gradients = cosines_grad, sines_grad, scratch(2 * parts, cosines) if parts > 1 else None, parts
        launch("fourier_coefficient_gradient", *arguments, grad, *gradients, *sizes)
    return x_grad, cosines_grad, sines_grad
