"""The candidates among which the pins of a learnable wiring choose, as the CUDA kernels read them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.layout import image_of, items_of
from difflut.kernels.cuda.wires import wires_of
from difflut.kernels.facts import known, note
from difflut.kernels.placements import Placements

CANDIDATES = 64  # candidates of a block of threads, which sums their gradients
LONE_PINS = 8  # pins of a group, where it is not known which pins belong to a node


class Union(NamedTuple):
    """The different candidates of all pins in a group, most of which the pins of a node share.

    Attributes:
        among: Their positions in the window, in order. (groups, most) int32
        counts: Number of different candidates in each group. (groups,) int32
        slots: Position of each candidate among them. (pins, K) int32
    """

    among: Tensor
    counts: Tensor
    slots: Tensor


def union_of(candidates: Tensor, group: int) -> Union:
    """The unions of the candidates (pins, K) of every `group` pins in a row, found once while the candidates stay."""
    union = known(candidates, f"union of {group}")
    if union is None:
        union = _united(candidates, group)
        if not torch.cuda.is_current_stream_capturing():
            most = int(union.counts.max()) if len(union.counts) else 0
            union = union._replace(among=union.among[:, :most].contiguous())
            note(candidates, f"union of {group}", union)
    return union


def _united(candidates: Tensor, group: int) -> Union:
    pins, choices = candidates.shape
    missing = candidates[-1:].expand(-pins % group, -1)  # the last pin again, until the last group is full
    values, order = torch.cat([candidates, missing]).reshape(-1, group * choices).sort(1)
    places = (values.diff(dim=1, prepend=values[:, :1]) != 0).cumsum(1)
    among = torch.zeros_like(values).scatter_(1, places, values)  # equal ones are written to one place
    slots = torch.empty_like(values).scatter_(1, order, places).view(-1, choices)[:pins]
    return Union(*(tensor.to(torch.int32).contiguous() for tensor in (among, places[:, -1] + 1, slots)))


def logits_gradient(
    function: str,
    inputs: Sequence[Tensor | None],
    candidates: Tensor | None,
    group: int,
    pins: int,
    given: Sequence[Tensor | int],
    batch: int,
    placements: Placements,
) -> Tensor:
    """What pins learn: (pins, K), or without candidates (window, pins).

    Args:
        function: The kernel.
        inputs: What the pins choose among, as the kernel takes it.
        candidates: (pins, K), or None for all inputs of a window.
        group: Pins that the kernel takes together.
        pins: All of them.
        given: Arguments in which the kernel finds the gradient of the pins.
        batch: Samples.
        placements: Windows at which the pins stand.
    """
    device = next(tensor.device for tensor in inputs if tensor is not None)
    made = torch.empty if batch else torch.zeros  # without samples the kernel writes nothing
    if candidates is None:
        among: tuple[Tensor | None, ...] = (None, None, None)
        most, choices = placements.window, 0
        out = made(most, pins, device=device)
    else:
        union = union_of(candidates, group)
        among, most, choices = union, union.among.shape[1], candidates.shape[1]
        out = made(pins, choices, device=device)
    groups, blocks = -(-pins // group), -(-most // CANDIDATES)
    parts = max(1, min(2048 // max(1, groups * blocks), items_of(placements, batch) // 16))
    sums = out.new_empty(parts, groups * group, blocks * CANDIDATES)
    launch(function, *inputs, image_of(placements), *among, most, choices, *given, sums, parts, out)
    return out


def listeners_of(logits: Tensor, candidates: Tensor | None, tau: float, placements: Placements) -> tuple[Tensor, ...]:
    """For each channel the pins that pass it a share of their gradient, where that is large enough to count.

    Shares are `softmax(logits / tau)`.

    Returns:
        Where the pins of each channel begin, (channels + 1,), and where they end, (channels,); the pins, where in the
        window each reads, and the shares.
    """
    area, channels = placements.kernel[0] * placements.kernel[1], placements.channels
    if candidates is None:
        share = torch.softmax(logits / tau, 0).t().contiguous()
        start = torch.arange(channels + 1, dtype=torch.int32, device=logits.device) * (len(share) * area)
        listening: tuple[Tensor, Tensor | None, Tensor | None] = start, None, None
    else:
        share, wires = shares_of(logits, tau), wires_of(candidates, placements)
        listening = *wires.readers(), wires.wiring
    pins, spots = (torch.empty(share.numel(), dtype=torch.int32, device=logits.device) for _ in range(2))
    end, shares = pins.new_empty(channels), share.new_empty(share.numel())
    launch("keep_shares", *listening, share, share.shape[1], area, channels, end, pins, spots, shares)
    return listening[0], end, pins, spots, shares


def shares_of(logits: Tensor, tau: float) -> Tensor:
    """`softmax(logits / tau)` of each pin's candidates, (pins, K)."""
    shares = torch.empty_like(logits, memory_format=torch.contiguous_format)
    launch("candidate_shares", logits.contiguous(), *reversed(logits.shape), tau, shares)
    return shares
