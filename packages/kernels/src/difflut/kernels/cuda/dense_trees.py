"""Dense banks that are trees, up to the order of their nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import aligned, parts_of, scratch
from difflut.kernels.facts import known, note

MOST_LEVELS = 2  # levels above the leaves that the kernels know


@dataclass(frozen=True)
class Forest:
    """The trees that dense banks are.

    Attributes:
        once: What the wirings of all banks but the first read, see `read_once`.
        pins: The features that the trees read, (roots, 2 F) int32.
        order: Of each bank but the last the nodes in the order of the trees, int32.
        slots: The pins' places where they are sorted by what they read, (roots, 2 F) int32.
        start: Where the places of each feature begin, (features + 1,) int32.
    """

    once: tuple[Tensor, ...]
    pins: Tensor
    order: tuple[Tensor, ...]
    slots: Tensor
    start: Tensor


def tree_levels(wirings: Sequence[Tensor], tables: Sequence[Tensor]) -> int:
    """How many banks from the first on are trees that the kernels know: two inputs, one output that is read once."""
    count = 0
    for wiring, table in zip(wirings[: MOST_LEVELS + 1], tables, strict=False):
        if wiring.shape[1] != 2 or table.shape != (len(wiring), 1, 4):
            break
        if count and read_once(wiring, len(wirings[count - 1])) is None:
            break
        count += 1
    return max(1, count)


def dense_tree_outputs(rows: Tensor, forest: Forest, tables: Sequence[Tensor]) -> Tensor:
    """The roots' outputs (roots, batch) from rows (features, batch)."""
    roots, batch = len(forest.pins), rows.shape[1]
    y = rows.new_empty(roots, batch)
    launch("dense_trees", *_given(rows, forest, tables), y, parts_of(roots, batch))
    return y


def dense_tree_gradients(
    rows: Tensor, forest: Forest, tables: Sequence[Tensor], grad: Tensor, needs_x: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradients of x (features, batch), where it is needed, and of all tables, from that of the outputs."""
    features, batch = rows.shape
    parts, sums = parts_of(len(grad), batch), grad.new_empty(sum(map(len, tables)), 1, 4)
    pin_grad = grad.new_empty(forest.pins.numel(), batch) if needs_x else None
    given = *_given(rows, forest, tables), grad, forest.slots, pin_grad
    launch("dense_tree_gradients", *given, sums, scratch(parts, sums), parts)
    table_grads = list(sums.split([len(table) for table in tables]))
    if pin_grad is None:
        return None, table_grads
    x_grad = torch.empty_like(rows)
    parts = parts_of(features, batch)
    launch("dense_tree_input_gradient", forest.start, pin_grad, batch, features, x_grad, parts)
    return x_grad, table_grads


def read_once(wiring: Tensor, features: int) -> Tensor | None:
    """The features in the order in which pins read them, int32, where each is read once; None where that is not known.

    The entries are looked at when this is first asked; while a graph is captured they cannot be.
    """
    if wiring.numel() != features:
        return None
    found: tuple[Tensor | None] | None = known(wiring, "once")
    if found is None:
        if torch.cuda.is_current_stream_capturing():
            return None
        readers = torch.bincount(wiring.flatten().clamp(0, features - 1), minlength=features)
        once = bool((readers == 1).all()) and bool(((wiring >= 0) & (wiring < features)).all())
        found = (wiring.flatten().to(torch.int32) if once else None,)
        note(wiring, "once", found)
    return found[0]


def forest_of(wirings: Sequence[Tensor], features: int) -> Forest:
    """The trees that banks are, found once for as long as the wirings' entries stay."""
    leaves, rest = wirings[0], []
    for below, wiring in pairwise(wirings):
        once = read_once(wiring, len(below))
        assert once is not None
        rest.append(once)
    forest: Forest | None = known(leaves, "forest")
    same = forest is not None and len(forest.once) == len(rest) and all(map(_is, forest.once, rest))
    if forest is not None and same and len(forest.start) == features + 1:
        return forest
    torch._assert_async(((leaves >= 0) & (leaves < features)).all(), f"wiring must read inputs 0 to {features - 1}")
    order: list[Tensor] = []
    for once in reversed(rest):  # from the roots down
        order.insert(0, once.view(-1, 2)[order[0].long()].flatten() if order else once)
    pins = leaves[order[0].long()].to(torch.int32).view(len(wirings[-1]), -1)
    by_feature, places = pins.flatten().sort(stable=True)
    slots = torch.empty_like(pins).flatten()
    slots[places] = torch.arange(len(slots), dtype=torch.int32, device=pins.device)
    bounds = torch.arange(features + 1, dtype=torch.int32, device=pins.device)
    start = torch.searchsorted(by_feature, bounds, out_int32=True)
    forest = Forest(tuple(rest), pins, tuple(order), slots.view_as(pins), start)
    if not torch.cuda.is_current_stream_capturing():
        note(leaves, "forest", forest)
    return forest


def _is(a: Tensor, b: Tensor) -> bool:
    return a is b


def _given(rows: Tensor, forest: Forest, tables: Sequence[Tensor]) -> tuple[Tensor | int | None, ...]:
    nothing = [None] * (MOST_LEVELS + 1 - len(tables))
    ordered = forest.pins, *forest.order, *nothing, *map(aligned, tables), *nothing
    return rows, *ordered, len(tables) - 1, rows.shape[1], len(forest.pins)
