"""How tensors are handed to the C++ kernels."""

import torch
from torch import Tensor

from difflut.kernels.contract import Kept
from difflut.kernels.cpp.calling import call, library


def is_binary(x: Tensor) -> bool:
    """Whether all of x (batch, features) is exactly 0 or 1."""
    return bool(library().difflut_is_binary(x.data_ptr(), *x.stride(), *x.shape))


def packed(x: Tensor) -> Kept:
    """The bits `x >= 1/2` of x (batch, features), by 64 samples: (features, ceil(batch / 64)) int64."""
    batch, features = x.shape
    bits = torch.empty(features, (batch + 63) // 64, dtype=torch.int64)
    call("pack_bits", x, *x.stride(), batch, features, bits)
    return Kept(bits, batch, "bits")


def values(x: Tensor) -> Kept:
    """x (batch, features) as contiguous (features, batch)."""
    return Kept(feature_major(x), len(x), "values")


def feature_major(x: Tensor) -> Tensor:
    """x (batch, features) as contiguous (features, batch)."""
    if x.t().is_contiguous():
        return x.t()
    batch, features = x.shape
    rows = x.new_empty(features, batch)
    call("transpose", x, *x.stride(), batch, features, rows)
    return rows
