"""How tensors are handed to the C++ kernels."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.contract import Kept
from difflut.kernels.cpp import recording
from difflut.kernels.cpp.calling import call, symbol
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.placements import Placements


@lru_cache(maxsize=256)
def sizes(placements: Placements) -> Tensor:
    """The placements as the kernels take them: see `Placements` in `bank.h`."""
    image = placements.channels, placements.height, placements.width
    return torch.tensor([*image, *placements.kernel, *placements.stride, *placements.padding])


def is_binary(x: Tensor) -> bool:
    """Whether all of x (batch, features) is known to be 0 and 1, or seen to be where values may be looked at."""
    if holds_bits(x) or not recording.may_look():
        return holds_bits(x)
    return bool(symbol("is_binary")(x.data_ptr(), *x.stride(), *x.shape))


def packed(x: Tensor, placements: Placements) -> Kept:
    """The bits `x >= 1/2` of x (batch, features), by 64 samples: (padded rows, ceil(batch / 64)) int64."""
    return Kept(padded(pack(x), placements), len(x), "bits")


def pack(x: Tensor | Bits) -> Tensor:
    """The same without padding, (features, ceil(batch / 64)) int64."""
    if isinstance(x, Bits):
        return x.words
    batch, features = x.shape
    bits = empty_bits(features, batch)
    call("pack_bits", x, *x.stride(), batch, features, bits)
    return bits


def unpack(bits: Tensor, batch: int) -> Tensor:
    """Packed bits as the floats 0 and 1, (batch, features)."""
    rows = recycled(len(bits), batch)
    call("unpack_bits", bits, batch, len(bits), rows)
    return rows.t()


def empty_bits(features: int, batch: int) -> Tensor:
    """Room for packed bits."""
    return torch.empty(features, (batch + 63) // 64, dtype=torch.int64)


def values(x: Tensor, placements: Placements) -> Kept:
    """x (batch, features) as contiguous (padded rows, batch)."""
    return Kept(padded(feature_major(x), placements), len(x), "values")


def padded(rows: Tensor, placements: Placements) -> Tensor:
    """The rows of an image (features, columns) and, as zeros, those of its padding."""
    y, x = placements.padding
    if y == x == 0:
        return rows
    image = rows.view(placements.channels, placements.height, placements.width, rows.shape[1])
    return F.pad(image, (0, 0, x, x, y, y)).flatten(0, 2)


def feature_major(x: Tensor) -> Tensor:
    """x (batch, features) as contiguous (features, batch)."""
    if x.t().is_contiguous():
        return x.t()
    batch, features = x.shape
    rows = x.new_empty(features, batch)
    call("transpose", x, *x.stride(), batch, features, rows)
    return rows
