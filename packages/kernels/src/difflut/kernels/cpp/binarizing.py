"""Tables of real values as bits, and smoothed."""

import torch
from torch import Tensor

from difflut.kernels.cpp.calling import call


def binarize(values: Tensor, smoothing: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Clamps contiguous values (L, m, 2**n) to [-1, 1] in place; returns `values >= 0`, and `values @ smoothing`."""
    bits = torch.empty_like(values)
    call("binarize", values, bits, values.numel())
    if smoothing is None:
        return bits, None
    slope, entries = torch.empty_like(values), values.shape[-1]
    call("smooth", values, smoothing[0].contiguous(), slope, values.numel() // entries, entries.bit_length() - 1)
    return bits, slope
