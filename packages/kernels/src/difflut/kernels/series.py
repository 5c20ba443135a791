"""A bank of Fourier series."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits
from difflut.kernels.choice import Choice
from difflut.kernels.contract import Backend, save_kept, saved_kept
from difflut.kernels.placements import PlacedWiring, Wiring
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank


@untraced
def fourier(
    x: Tensor | Bits | Choice, wiring: Wiring, cosines: Tensor, sines: Tensor, *, use_cuda: bool = True
) -> Tensor:
    """Evaluates `F(x) = sum_s cosines[s] cos(pi <s, x>) + sines[s] sin(pi <s, x>)` for every node of a bank.

    `<s, x>` is the sum of those inputs j for which bit j of s is set, so the frequencies are all of {0, 1/2}**n. Where
    x is 0 or 1, the cosines are Walsh functions; the sines are 0 there, their slopes are not. The gradients are exact.

    Args:
        x: Values of period 2, any strides. (batch, features)
        wiring: The inputs that each node reads, least significant bit of s first, (L, n), int64, n from 1 to 8; or such
            a wiring with its placements, P of them.
        cosines: (L, m, 2**n)
        sines: (L, m, 2**n)
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other, or the wiring reads an input which there is not.
    """
    reads = check_bank(x, wiring, cosines)
    if sines.shape != cosines.shape or sines.dtype != cosines.dtype:
        raise ValueError(
            f"sines need the shape and dtype of cosines, {tuple(cosines.shape)} of {cosines.dtype}, "
            f"got {tuple(sines.shape)} of {sines.dtype}"
        )
    backend = backend_for(cosines, use_cuda)
    x = x.float() if isinstance(x, Choice) else x
    return _Fourier.apply(accepted(x, backend), reads, cosines, sines, backend)


class _Fourier(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | Bits, reads: PlacedWiring, cosines: Tensor, sines: Tensor, backend: Backend
    ) -> Tensor:
        y, kept = backend.fourier(x, reads.wiring, cosines, sines, reads.placements)
        ctx.backend, ctx.placements = backend, reads.placements
        save_kept(ctx, kept, reads.wiring, cosines, sines)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, wiring, cosines, sines = saved_kept(ctx)
        needs_x, _, *needs_coefficients, _ = ctx.needs_input_grad
        x_grad, cosines_grad, sines_grad = ctx.backend.fourier_gradients(
            kept, wiring, cosines, sines, grad, ctx.placements, needs_x, any(needs_coefficients)
        )
        return x_grad, None, cosines_grad, sines_grad, None
