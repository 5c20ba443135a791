"""The inputs at positions of every window as a tensor, for operations without a kernel of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from difflut.kernels.bits import Bits, holds_bits, mark_bits
from difflut.kernels.choice import Choice
from difflut.kernels.placements import Wiring, placed


def gather(x: Tensor | Bits | Choice, wiring: Wiring) -> Tensor:
    """The inputs at some positions, batch last.

    Args:
        x: (batch, features)
        wiring: Positions in the window, of any shape, int64, with their placements or, of a dense layer, without.

    Returns:
        The wiring's shape with an axis more, P * batch: the samples of a placement side by side.
    """
    rows, reads = (x if isinstance(x, Tensor) else x.float()).t(), placed(wiring, x.shape[1])
    if any(reads.placements.padding):
        rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    numbers = reads.placements.rows(reads.wiring) % len(rows)  # -1, outside the image, is the row of zeros
    return rows.index_select(0, numbers.flatten()).view(*reads.wiring.shape, reads.placements.count * rows.shape[1])


def side_by_side(sources: Sequence[Tensor | Bits]) -> Tensor | Bits:
    """Several sources (batch, features) as one, stored with the batch as the fast axis; bits stay bits."""
    packed = [x.words for x in sources if isinstance(x, Bits)]
    if len(packed) == len(sources):
        return Bits(torch.cat(packed), len(sources[0]))
    rows = torch.cat([(x.float() if isinstance(x, Bits) else x).t() for x in sources]).t()
    return mark_bits(rows) if all(map(holds_bits, sources)) else rows
