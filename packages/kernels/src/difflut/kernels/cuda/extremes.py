"""The largest or the smallest input."""

import torch
from torch import Tensor

from difflut.kernels.bits import Bits, holds_bits
from difflut.kernels.contract import Kept
from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import feature_major, image_of, items_of, pack
from difflut.kernels.cuda.lookups import empty_bits
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.facts import note
from difflut.kernels.placements import Placements


def maximum(x: Tensor | Bits, wiring: Tensor, least: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.maximum`; where x is known to be bits, the result is also packed, and the next bank reads that."""
    batch, (nodes, n) = len(x), wiring.shape
    wires, outputs = wires_of(wiring, placements), nodes * placements.count
    chosen = torch.empty(nodes, items_of(placements, batch) * 32, dtype=torch.int32, device=x.device)
    y = torch.empty(outputs, batch, device=x.device)
    arguments = wires.wiring, image_of(placements), int(least), chosen, y
    sizes = batch, placements.features, nodes, n
    if not isinstance(x, Bits) and not holds_bits(x):
        launch("maximum", feature_major(x), *arguments, *sizes)
        return y.t(), Kept(chosen, batch, "addresses")
    packed = empty_bits(outputs, y, batch)
    launch("maximum_of_bits", pack(x), *arguments, packed, *sizes)
    rows = y.t()
    note(rows, "words", packed)
    return rows, Kept(chosen, batch, "addresses")


def maximum_gradient(kept: Kept, wiring: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.maximum_gradient`."""
    wires, x_grad = wires_of(wiring, placements), grad.new_empty(placements.features, kept.batch)
    reads = wires.wiring, image_of(placements), int(wires.once), *wires.readers()
    sizes = kept.batch, placements.features, *wiring.shape
    launch("maximum_gradient", kept.data, *reads, feature_major(grad), x_grad, *sizes)
    return x_grad.t()
