"""The hard look-up and the sum of its outputs by class."""

import torch
from torch import Tensor

from difflut.kernels import reference
from difflut.kernels.bits import Bits
from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, pack, padded
from difflut.kernels.cuda.wires import Wires, wires_of
from difflut.kernels.placements import Placements


def lookup(x: Tensor | Bits, wiring: Tensor, table: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.lookup`; the addresses taken are kept, a byte each.

    A wiring in int32 was found for this call: it is neither checked nor remembered.
    """
    if not placements.is_dense:
        return reference.lookup(x.float() if isinstance(x, Bits) else x, wiring, table, placements)
    y, features = table.new_empty(table.shape[0] * table.shape[1], len(x)), x.shape[1]
    wires = Wires(wiring, features) if wiring.dtype == torch.int32 else wires_of(wiring, features)
    return y.t(), Kept(read_tables(pack(x), len(x), wires, table, y), len(x), "addresses")


def read_tables(
    bits: Tensor, batch: int, wires: Wires, table: Tensor, y: Tensor | None = None, y_bits: Tensor | None = None
) -> Tensor:
    """The look-up from packed bits into `y` (L * m, batch) and, packed, `y_bits`; returns the addresses taken."""
    codes = torch.empty(len(wires.wiring), padded(batch) // 4, dtype=torch.int32, device=bits.device)
    sizes = batch, len(bits), *bank_sizes(wires.wiring, table)
    launch("lookup", bits, wires.wiring, aligned(table), codes, y, y_bits, *sizes)
    return codes


def group_sum(codes: Tensor, table: Tensor, tau: float, sums: Tensor) -> None:
    """Fills `sums` (groups, batch) with the entries that each group's tables gave at their addresses, over tau."""
    (groups, batch), (nodes, m, entries) = sums.shape, table.shape
    sizes = batch, nodes, entries.bit_length() - 1, m
    launch("group_sum", codes, table.contiguous(), nodes * m // groups, tau, sums, *sizes)
