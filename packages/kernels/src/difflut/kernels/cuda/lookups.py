"""The hard look-up and the sum of its outputs by class."""

import torch
from torch import Tensor

from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, bank_sizes, image_of, items_of, pack, padded
from difflut.kernels.cuda.wires import Wires, wires_of
from difflut.kernels.facts import note
from difflut.kernels.placements import Placements


def lookup(x: Tensor | Bits, wiring: Tensor, table: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.lookup`; the addresses taken are kept, a byte each.

    Where the table is known to hold bits, the result is also packed, and the next bank reads that.
    """
    batch, outputs = len(x), table.shape[0] * table.shape[1] * placements.count
    y, packed = table.new_empty(outputs, batch), empty_bits(outputs, table, batch) if holds_bits(table) else None
    codes, y = read_tables(pack(x), batch, wires_of(wiring, placements), table, y, packed), y.t()
    if packed is not None:
        note(y, "words", packed)
    return y, Kept(codes, batch, "addresses")


def empty_bits(features: int, like: Tensor, batch: int) -> Tensor:
    """Room for packed bits, (features, 4 ceil(batch / 128)) int32."""
    return torch.empty(features, padded(batch) // 32, dtype=torch.int32, device=like.device)


def read_tables(
    bits: Tensor, batch: int, wires: Wires, table: Tensor, y: Tensor | None = None, y_bits: Tensor | None = None
) -> Tensor:
    """The look-up from packed bits into `y` (L * m * P, batch) and, packed, `y_bits`; returns the addresses taken."""
    items = items_of(wires.placements, batch)
    codes = torch.empty(len(wires.wiring), items * 32, dtype=torch.int32, device=bits.device)
    sizes = batch, len(bits), *bank_sizes(wires.wiring, table)
    launch("lookup", bits, wires.wiring, image_of(wires.placements), aligned(table), codes, y, y_bits, *sizes)
    return codes


def group_sum(codes: Tensor, table: Tensor, tau: float, sums: Tensor) -> None:
    """Fills `sums` (groups, batch) with the entries that each group's tables gave at their addresses, over tau."""
    (groups, batch), (nodes, m, entries) = sums.shape, table.shape
    sizes = batch, nodes, entries.bit_length() - 1, m
    launch("group_sum", codes, table.contiguous(), nodes * m // groups, tau, sums, *sizes)
