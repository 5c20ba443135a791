"""Hard layers that read each other as one operation."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cpp
from difflut.kernels.backends import backend_for
from difflut.kernels.bits import Bits, holds_bits, mark_bits
from difflut.kernels.contract import Kept, Selected
from difflut.kernels.extremes import maximum
from difflut.kernels.gathering import side_by_side
from difflut.kernels.grouping import group_sum
from difflut.kernels.hard_banks import Bank, HardBank, LearnedBank, Maximum, Plan, Spread
from difflut.kernels.learned import check_learned, learned_lookup
from difflut.kernels.placements import PlacedWiring
from difflut.kernels.selection import leaves_factors
from difflut.kernels.stack import lookup_stack
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import check_bank, check_reads


@untraced
def lookup_graph(
    inputs: Sequence[Tensor | Bits],
    banks: Sequence[Bank],
    sources: Sequence[Sequence[int]],
    outputs: Sequence[int],
    groups: int | None = None,
    tau: float = 1.0,
    *,
    use_cuda: bool = True,
) -> list[Tensor]:
    """Evaluates banks that read the inputs and each other, and may sum the last one's outputs by class.

    The same as `lookup`, `learned_lookup` or `maximum` of the sources side by side for each bank, and for the last one
    a sum over `groups` equal stretches of its outputs, divided by `tau`. On a CPU what lies between banks stays packed
    bits, sources are put side by side as such, and the last bank's outputs are not written down where they are summed,
    nor are their gradients where its wiring is fixed. On a GPU this holds for banks with tables and fixed wirings that
    read nothing but the one before.

    Args:
        inputs: Inputs, as for `lookup`; what a maximum or a learned bank reads must be bits. Each (batch, features)
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
    tables = [None if isinstance(bank, Maximum) else bank.table for bank in banks]
    if not all(backend_for(value, use_cuda) is cpp for value in (*inputs, *tables) if value is not None):
        placed = [
            bank if isinstance(bank, LearnedBank) or read is None else bank._replace(wiring=read)
            for bank, read in zip(banks, reads, strict=True)
        ]
        return _in_stretches(inputs, placed, sources, outputs, groups, tau, use_cuda)
    learned = [bank if isinstance(bank, LearnedBank) else None for bank in banks]
    plan = Plan(
        [read or _chosen(bank) for read, bank in zip(reads, banks, strict=True)],
        widths,
        [bank.least if isinstance(bank, Maximum) else None for bank in banks],
        [bank and Spread(bank.candidates, bank.tau) for bank in learned],
        sources,
        outputs,
        groups,
        tau,
    )
    slopes = [None if isinstance(bank, Maximum) else bank.slope for bank in banks]
    logits = [bank and bank.logits for bank in learned]
    results = _GraphOnCPU.apply(plan, slopes, *inputs, *logits, *tables)
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
    inputs: Sequence[Tensor | Bits], banks: Sequence[Bank], sources: Sequence[Sequence[int]]
) -> tuple[list[PlacedWiring | None], list[int]]:
    """Checks that banks fit what they read.

    Returns:
        Their wirings with placements, None where the wiring learns, and the features of all values.
    """
    values: list[Tensor | Bits | _Given] = list(inputs)
    batch, reads = len(inputs[0]), list[PlacedWiring | None]()
    for bank, numbers in zip(banks, sources, strict=True):
        x = values[numbers[0]]
        if numbers[1:]:
            x = _Given((batch, sum(values[number].shape[1] for number in numbers)), x.dtype, x.device)
        if isinstance(bank, LearnedBank):
            check_learned(x, *bank)
            reads.append(None)
            features = bank.table.shape[0] * bank.table.shape[1] * bank.placements.count
        else:
            read = check_bank(x, *bank[:2]) if isinstance(bank, HardBank) else check_reads(x, bank.wiring)
            reads.append(read)
            outputs = bank.table.shape[1] if isinstance(bank, HardBank) else 1
            features = read.wiring.shape[0] * outputs * read.placements.count
        values.append(_Given((batch, features), x.dtype, x.device))
    return reads, [value.shape[1] for value in values]


def _chosen(bank: Bank) -> PlacedWiring:
    """The present wiring of a bank whose wiring learns."""
    assert isinstance(bank, LearnedBank)  # all others have a wiring
    pins = cpp.chosen(bank.logits, bank.candidates, bank.placements)
    return PlacedWiring(pins.view(len(bank.table), -1), bank.placements)


def _in_stretches(
    inputs: Sequence[Tensor | Bits],
    banks: Sequence[Bank],
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
        elif isinstance(bank, LearnedBank):
            y = learned_lookup(x, **bank._asdict(), use_cuda=use_cuda)
            values.append(group_sum(y, groups) / tau if groups and end == len(banks) else y)
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
        ctx: Any, plan: Plan, slopes: Sequence[Tensor | None], *inputs_logits_tables: Tensor | None
    ) -> tuple[Tensor, ...]:
        count = len(plan.reads)
        inputs = [x for x in inputs_logits_tables[: -2 * count] if x is not None]
        logits, tables = inputs_logits_tables[-2 * count : -count], inputs_logits_tables[-count:]
        outputs, kept = cpp.look_up_graph(inputs, plan, tables)
        ctx.set_materialize_grads(False)
        ctx.plan, ctx.entries = plan, [1 if table is None else table.shape[1] for table in tables]
        ctx.batch, ctx.logits = len(inputs[0]), logits
        ctx.save_for_backward(*kept, *(read.wiring for read in plan.reads), *slopes, *logits)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, count = ctx.plan, len(ctx.entries)
        kept, wirings, slopes, logits = (ctx.saved_tensors[i : i + count] for i in range(0, 4 * count, count))
        needed, needs_table = list(ctx.needs_input_grad[2 : -2 * count]), ctx.needs_input_grad[-count:]
        needs_logits = ctx.needs_input_grad[-2 * count : -count]
        first, passes = len(needed), []
        for i, numbers in enumerate(plan.sources):
            has_gradient = slopes[i] is not None or plan.least[i] is not None
            passes.append(has_gradient and any(needed[number] for number in numbers))
            needed.append(needs_table[i] or needs_logits[i] or passes[-1])
        of_value = {n: cpp.feature_major(g) for n, g in zip(plan.outputs, grads, strict=True) if g is not None}
        table_grads: list[Tensor | None] = [None] * count
        logits_grads: list[Tensor | None] = [None] * count
        for i in reversed(range(count)):
            reads, spread = PlacedWiring(wirings[i], plan.reads[i].placements), plan.spreads[i]
            grad, group = of_value.pop(i + first, None), 1
            if grad is None:
                continue
            if plan.groups is not None and i == count - 1:
                grad, group = grad / plan.tau, plan.widths[-1] // plan.groups
            if needs_table[i]:
                arguments = kept[i], reads.wiring, grad, ctx.entries[i], reads.placements, group
                table_grads[i] = cpp.table_gradient(*arguments)
            if spread is not None:
                grad = grad.repeat_interleave(group, 0) if group > 1 else grad
                learning, bits = ctx.logits[i] if needs_logits[i] else None, Kept(kept[i], ctx.batch, "bits")
                x_grad, logits_grads[i] = _learned_gradients(
                    learning, logits[i], spread, bits, reads, slopes[i], grad, passes[i]
                )
            elif passes[i]:
                x_grad = cpp.passed_back(kept[i], reads, plan.least[i], slopes[i], grad, group)
            else:
                x_grad = None
            if x_grad is None:
                continue
            parts = x_grad.split([plan.widths[n] for n in plan.sources[i]])
            for number, part in zip(plan.sources[i], parts, strict=True):
                if needed[number]:
                    of_value[number] = cpp.sum_of(of_value[number], part) if number in of_value else part
        x_grads = (of_value[n].t() if n in of_value else None for n in range(first))
        return None, None, *x_grads, *logits_grads, *table_grads


def _learned_gradients(
    learning: Tensor | None,
    logits: Tensor,
    spread: Spread,
    kept: Kept,
    reads: PlacedWiring,
    slope: Tensor,
    grad: Tensor,
    needs_x: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of what a bank with a learned wiring reads, (features, batch), and of its logits.

    Args:
        learning: The logits as the optimizer has them, where they need a gradient.
    """
    placements, needs_logits = reads.placements, learning is not None
    if learning is not None and spread.candidates is None and placements.is_dense:
        needs_logits = not leaves_factors(
            cpp, learning, kept, lambda: cpp.lookup_pin_gradient(kept, reads.wiring, slope, grad.t(), placements)
        )
    if not needs_x and not needs_logits:
        return None, None
    selected = Selected(kept, reads.wiring.flatten())
    x_grad, logits_grad = cpp.learned_gradients(
        logits, spread.candidates, selected, spread.tau, kept, slope, grad.t(), placements, needs_x, needs_logits
    )
    return None if x_grad is None else x_grad.t(), logits_grad
