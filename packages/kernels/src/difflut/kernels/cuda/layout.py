"""How tensors are handed to the CUDA kernels."""

from functools import cache

import torch
from torch import Tensor

from difflut.kernels.bits import Bits
from difflut.kernels.cuda.launching import launch
from difflut.kernels.facts import known
from difflut.kernels.placements import Placements

SAMPLES = 128  # rows of packed bits and of addresses are padded to so many


def pack(x: Tensor | Bits) -> Tensor:
    """The bits `x >= 1/2` of x (batch, features), by 32 samples: (features, 4 ceil(batch / 128)) int32."""
    if isinstance(x, Bits):
        return x.words
    if (words := known(x, "words")) is not None:
        return words
    batch, features = x.shape
    bits = torch.empty(features, padded(batch) // 32, dtype=torch.int32, device=x.device)
    if bits.numel():
        launch("pack", x, *x.stride(), batch, features, bits)
    return bits


def padded(batch: int) -> int:
    """The batch rounded up to whole quads of words."""
    return -(-batch // SAMPLES) * SAMPLES


def feature_major(x: Tensor) -> Tensor:
    """x (batch, features) as contiguous (features, batch)."""
    return x.t().contiguous()


def aligned(table: Tensor) -> Tensor:
    """The table, contiguous and at an address that four floats can be read from at once."""
    table = table.contiguous()
    return table if table.data_ptr() % 16 == 0 else table.clone()


def bank_sizes(wiring: Tensor, table: Tensor) -> tuple[int, int, int]:
    """L, n and m of a wiring (L, n) and a table (L, m, 2**n)."""
    return *wiring.shape, table.shape[1]


@cache
def image_of(placements: Placements) -> Tensor | None:
    """The placements as the kernels take them, on the CPU; None where there is one."""
    if placements.is_dense:
        return None
    sizes = placements.height, placements.width, *placements.kernel, *placements.stride, *placements.padding
    return torch.tensor([*sizes, placements.out_height, placements.out_width], dtype=torch.int32)


def items_of(placements: Placements, batch: int) -> int:
    """Placements times quads of words, 128 samples each: what a warp takes at a time."""
    return placements.count * padded(batch) // SAMPLES


def parts_of(rows: int, batch: int) -> int:
    """Into how many equal parts the batch is divided, so that a warp for each part of each row fills a GPU."""
    quads, rows = max(1, padded(batch) // SAMPLES), max(1, rows)
    most = max(8192 // rows, min(quads // 8, 32768 // rows), 1)
    length = -(-quads // min(most, 32))
    return -(-quads // length)


def scratch(parts: int, table: Tensor) -> Tensor | None:
    """Room for so many parts of a sum over all placements and samples, where there are several."""
    return None if parts == 1 else table.new_empty(parts, *table.shape)
