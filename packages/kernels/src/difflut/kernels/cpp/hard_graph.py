"""Hard banks that read each other, on packed bits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from difflut.kernels.cpp.banks import evaluate, fill
from difflut.kernels.cpp.extremes import maximum_of_bits, maximum_of_bits_gradient
from difflut.kernels.cpp.layout import empty_bits, pack, padded, unpack
from difflut.kernels.cpp.lookups import input_gradient
from difflut.kernels.cpp.recycling import recycled
from difflut.kernels.hard_banks import Plan
from difflut.kernels.placements import PlacedWiring


def look_up_graph(
    inputs: Sequence[Tensor], plan: Plan, tables: Sequence[Tensor | None]
) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs (batch, features) of a plan, the last one maybe as sums (batch, groups), and what each bank reads.

    Raises:
        ValueError: A wiring reads beyond the window.
    """
    batch, last = len(inputs[0]), len(inputs) + len(tables) - 1
    read = {number for numbers in plan.sources for number in numbers}
    bits = {number: pack(x) for number, x in enumerate(inputs) if number in read}
    kept: list[Tensor] = []
    outputs: dict[int, Tensor] = {}
    for i, (reads, table, least) in enumerate(zip(plan.reads, tables, plan.least, strict=True)):
        number, (wiring, placements) = i + len(inputs), (reads.wiring, reads.placements)
        sources = [bits[source] for source in plan.sources[i]]
        kept.append(padded(torch.cat(sources) if sources[1:] else sources[0], placements))
        if table is None:
            bits[number] = maximum_of_bits(kept[i], batch, wiring, bool(least), placements)
            if number in plan.outputs:
                outputs[number] = unpack(bits[number], batch)
            continue
        arguments = kept[i], batch, wiring, table, placements
        if number in read:
            bits[number] = empty_bits(_outputs(table, reads), batch)
            fill(bits[number], "lookup_bits", *arguments)
        if number == last and plan.groups is not None:
            sums = torch.empty(plan.groups, batch)
            fill(sums, "lookup_sums", *arguments, _outputs(table, reads) // plan.groups, plan.tau)
            outputs[number] = sums.t()
        elif number in plan.outputs:
            outputs[number] = evaluate("lookup", *arguments)
    return [outputs[number] for number in plan.outputs], kept


def passed_back(
    kept: Tensor, reads: PlacedWiring, least: bool | None, slope: Tensor | None, grad: Tensor, group: int
) -> Tensor:
    """The gradient of what a bank reads (features, batch); `group` neighbouring outputs share a row of `grad`."""
    if slope is None:
        return maximum_of_bits_gradient(kept, reads.wiring, bool(least), grad, reads.placements)
    return input_gradient(kept, reads.wiring, slope, grad, reads.placements, group)


def _outputs(table: Tensor, reads: PlacedWiring) -> int:
    return table.shape[0] * table.shape[1] * reads.placements.count


def sum_of(a: Tensor, b: Tensor) -> Tensor:
    """The sum of two gradients (features, batch)."""
    return torch.add(a, b, out=recycled(*a.shape))
