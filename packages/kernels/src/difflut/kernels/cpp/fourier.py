"""The Fourier series and its gradients."""

import torch
from torch import Tensor

from difflut.kernels.cpp.banks import evaluate
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """The Fourier series, (batch, L * m), and the waves of x, (2, features, batch)."""
    rows = feature_major(x)
    waves = rows.new_empty(2, *rows.shape)
    call("fourier_waves", rows, rows.numel(), waves)
    return evaluate("fourier", waves, x, wiring, _folded(cosines, sines)), waves


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
    rows, m = feature_major(grad), cosines.shape[1]
    wiring, sizes = wiring.contiguous(), (len(grad), features, *wiring.shape, m)
    if needs_x:
        x_grad = torch.empty_like(waves[0])
        call("fourier_input_gradient", waves, wiring, _folded(cosines, sines), rows, x_grad, *sizes)
        x_grad = x_grad.t()
    if needs_coefficients:
        folded = grad.new_empty(*cosines.shape[:2], 2 * cosines.shape[2])
        call("fourier_coefficient_gradient", waves, wiring, rows, folded, *sizes)
        cosines_grad, sines_grad = grad.new_empty(cosines.shape), grad.new_empty(cosines.shape)
        call("fourier_unfold", folded, folded[..., 0].numel(), wiring.shape[1], cosines_grad, sines_grad)
    return x_grad, cosines_grad, sines_grad


def _folded(cosines: Tensor, sines: Tensor) -> Tensor:
    """The matrices of the series, (L, m, 2 * 2**n); see `fourier.cpp`."""
    folded = cosines.new_empty(*cosines.shape[:2], 2 * cosines.shape[2])
    sizes = cosines[..., 0].numel(), cosines.shape[2].bit_length() - 1
    call("fourier_fold", cosines.contiguous(), sines.contiguous(), *sizes, folded)
    return folded
