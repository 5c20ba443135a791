"""The Fourier series and its gradients."""

from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cpp.banks import evaluate
from difflut.kernels.cpp.calling import call
from difflut.kernels.cpp.layout import feature_major, sizes, values
from difflut.kernels.placements import Placements


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.fourier`; the waves of x are kept, (2, padded rows, batch)."""
    rows = values(x, placements).data
    waves = rows.new_empty(2, *rows.shape)
    call("fourier_waves", rows, rows.numel(), waves)
    y = evaluate("fourier", waves, len(x), wiring, _folded(cosines, sines), placements)
    return y, Kept(waves, len(x), "values")


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
    waves, rows, m = kept.data, feature_major(grad), cosines.shape[1]
    wiring, extents = wiring.contiguous(), (sizes(placements), kept.batch, *wiring.shape, m)
    if needs_x:
        x_grad = grad.new_empty(placements.features, kept.batch)
        call("fourier_input_gradient", waves, wiring, _folded(cosines, sines), rows, x_grad, *extents)
        x_grad = x_grad.t()
    if needs_coefficients:
        folded = grad.new_empty(*cosines.shape[:2], 2 * cosines.shape[2])
        call("fourier_coefficient_gradient", waves, wiring, rows, folded, *extents)
        cosines_grad, sines_grad = grad.new_empty(cosines.shape), grad.new_empty(cosines.shape)
        call("fourier_unfold", folded, folded[..., 0].numel(), wiring.shape[1], cosines_grad, sines_grad)
    return x_grad, cosines_grad, sines_grad


def _folded(cosines: Tensor, sines: Tensor) -> Tensor:
    """The matrices of the series, (L, m, 2 * 2**n); see `fourier.cpp`."""
    folded = cosines.new_empty(*cosines.shape[:2], 2 * cosines.shape[2])
    count = cosines[..., 0].numel(), cosines.shape[2].bit_length() - 1
    call("fourier_fold", cosines.contiguous(), sines.contiguous(), *count, folded)
    return folded
