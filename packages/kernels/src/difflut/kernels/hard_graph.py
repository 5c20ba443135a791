"""Hard layers that read each other as one operation."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cpp
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits, holds_bits, mark_bits
from difflut.kernels.extremes import maximum
from difflut.kernels.gathering import side_by_side
from difflut.kernels.hard_banks import HardBank, Maximum, Plan
from difflut.kernels.placements import PlacedWiring
from difflut.kernels.stack import lookup_stack
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank, check_reads


@untraced
def lookup_graph(
    inputs: Sequence[Tensor | Bits],
    banks: Sequence[HardBank | Maximum],
    sources: Sequence[Sequence[int]],
    outputs: Sequence[int],
    groups: int | None = None,
    tau: float = 1.0,
    *,
    use_cuda: bool = True,
) -> list[Tensor]:
    """Evaluates banks that read the inputs and each other, and may sum the last one's outputs by class.

    The same as `lookup` or `maximum` of the sources side by side for each bank, and for the last one a sum over
    `groups` equal stretches of its outputs, divided by `tau`. On a CPU the activations between the banks stay packed
    bits, sources are put side by side as such, and the last bank's outputs and their gradients are not written down
    where they are summed. On a GPU this holds for banks with tables that read nothing but the one before.

    Args:
        inputs: Inputs, as for `lookup`; what a maximum reads must be bits. Each (batch, features)
        banks: Banks, at placements of their own.
        sources: For each bank, the numbers of what it reads side by side. Inputs are numbered first, then banks.
        outputs: Numbers of the banks whose outputs are returned.
        groups: Number of classes, where the last bank has tables and is the last of `outputs`.
        tau: Temperature that divides the sums.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        For each of `outputs` (batch, groups) or (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    reads, widths = _check(inputs, banks, sources)
    if groups is not None and widths[-1] % groups:
        raise ValueError(f"{widths[-1]} outputs cannot be divided into groups={groups} equal groups")
    tables = [bank.table if isinstance(bank, HardBank) else None for bank in banks]
    if not all(backend_for(value, use_cuda) is cpp for value in (*inputs, *tables) if value is not None):
        placed = [bank._replace(wiring=read) for bank, read in zip(banks, reads, strict=True)]
        return _in_stretches(inputs, placed, sources, outputs, groups, tau, use_cuda)
    least = [None if isinstance(bank, HardBank) else bank.least for bank in banks]
    slopes = [bank.slope if isinstance(bank, HardBank) else None for bank in banks]
    plan = Plan(reads, widths, least, sources, outputs, groups, tau)
    results = _GraphOnCPU.apply(plan, slopes, *(accepted(x, cpp) for x in inputs), *tables)
    summed = None if groups is None else outputs[-1]
    for number, y in zip(outputs, results, strict=True):
        table = tables[number - len(inputs)]
        if number != summed and (table is None or holds_bits(table)):
            mark_bits(y)
    return list(results)


class _Given(NamedTuple):
    """What a bank will give, for checks alone."""

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device
    ndim: int = 2


def _check(
    inputs: Sequence[Tensor | Bits], banks: Sequence[HardBank | Maximum], sources: Sequence[Sequence[int]]
) -> tuple[list[PlacedWiring], list[int]]:
    """Checks that banks fit what they read; returns their wirings with placements, and the features of all values."""
    values: list[Tensor | Bits | _Given] = list(inputs)
    batch, reads = len(inputs[0]), []
    for bank, numbers in zip(banks, sources, strict=True):
        x, outputs = values[numbers[0]], 1
        if numbers[1:]:
            x = _Given((batch, sum(values[number].shape[1] for number in numbers)), x.dtype, x.device)
        if isinstance(bank, HardBank):
            reads.append(check_bank(x, bank.wiring, bank.table))
            outputs = bank.table.shape[1]
        else:
            reads.append(check_reads(x, bank.wiring))
        features = reads[-1].wiring.shape[0] * outputs * reads[-1].placements.count
        values.append(_Given((batch, features), x.dtype, x.device))
    return reads, [value.shape[1] for value in values]


def _in_stretches(
    inputs: Sequence[Tensor | Bits],
    banks: Sequence[HardBank | Maximum],
    sources: Sequence[Sequence[int]],
    outputs: Sequence[int],
    groups: int | None,
    tau: float,
    use_cuda: bool,
) -> list[Tensor]:
    """The same with the operations of the back end, of which a stack of banks with tables is one."""
    values: list[Any] = list(inputs)
    readers = Counter(number for numbers in (*sources, outputs) for number in numbers)
    start = 0
    while start < len(banks):
        read = [values[number] for number in sources[start]]
        x, bank, end = side_by_side(read) if read[1:] else read[0], banks[start], start + 1
        if isinstance(bank, Maximum):
            values.append(maximum(x, bank.wiring, least=bank.least, use_cuda=use_cuda))
        else:
            stack = [bank]
            while end < len(banks) and isinstance(after := banks[end], HardBank):
                before = end - 1 + len(inputs)
                if tuple(sources[end]) != (before,) or readers[before] > 1:
                    break
                stack.append(after)
                end += 1
            summed = groups if end == len(banks) else None
            values += (len(stack) - 1) * [None]
            values.append(lookup_stack(x, stack, summed, tau if summed else 1.0, use_cuda=use_cuda))
        readers.subtract(sources[start])
        for number in sources[start]:
            if not readers[number]:
                values[number] = None  # its memory may be used again
        start = end
    return [values[number] for number in outputs]


class _GraphOnCPU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, slopes: Sequence[Tensor | None], *inputs_and_tables: Tensor | None
    ) -> tuple[Tensor, ...]:
        inputs = [x for x in inputs_and_tables[: -len(plan.reads)] if x is not None]
        tables = inputs_and_tables[-len(plan.reads) :]
        outputs, kept = cpp.look_up_graph(inputs, plan, tables)
        ctx.set_materialize_grads(False)
        ctx.plan, ctx.entries = plan, [1 if table is None else table.shape[1] for table in tables]
        ctx.save_for_backward(*kept, *(read.wiring for read in plan.reads), *slopes)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, count = ctx.plan, len(ctx.entries)
        kept, wirings, slopes = (ctx.saved_tensors[i : i + count] for i in range(0, 3 * count, count))
        needed, needs_table = list(ctx.needs_input_grad[2:-count]), ctx.needs_input_grad[-count:]
        first, passes = len(needed), []
        for slope, least, numbers, needs in zip(slopes, plan.least, plan.sources, needs_table, strict=True):
            passes.append((slope is not None or least is not None) and any(needed[number] for number in numbers))
            needed.append(needs or passes[-1])
        of_value = {n: cpp.feature_major(g) for n, g in zip(plan.outputs, grads, strict=True) if g is not None}
        table_grads: list[Tensor | None] = [None] * count
        for i in reversed(range(count)):
            reads, numbers = PlacedWiring(wirings[i], plan.reads[i].placements), plan.sources[i]
            grad, group = of_value.pop(i + first, None), 1
            if grad is None:
                continue
            if plan.groups is not None and i == count - 1:
                grad, group = grad / plan.tau, plan.widths[-1] // plan.groups
            if needs_table[i]:
                arguments = kept[i], reads.wiring, grad, ctx.entries[i], reads.placements, group
                table_grads[i] = cpp.table_gradient(*arguments)
            if not passes[i]:
                continue
            x_grad = cpp.passed_back(kept[i], reads, plan.least[i], slopes[i], grad, group)
            for number, part in zip(numbers, x_grad.split([plan.widths[n] for n in numbers]), strict=True):
                if needed[number]:
                    of_value[number] = cpp.sum_of(of_value[number], part) if number in of_value else part
        return None, None, *(of_value[n].t() if n in of_value else None for n in range(first)), *table_grads
