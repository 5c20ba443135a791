"""Memory for large results, which is used again, since fresh pages take too long."""

import ctypes
import weakref
from collections import defaultdict, deque
from typing import Any

import torch
from torch import Tensor

LARGE = 2**16  # numbers from which on fresh pages cost too much

idle: defaultdict[int, deque[Tensor]] = defaultdict(lambda: deque(maxlen=2))
_lent: dict[int, weakref.ref[Any]] = {}  # told when the last tensor that lies in a piece of memory is gone


def recycled(rows: int, columns: int) -> Tensor:
    """An uninitialised matrix; a large one may lie where an earlier one did, once no tensor lies there any more."""
    size = rows * columns
    if size < LARGE:
        return torch.empty(rows, columns)
    try:
        owner = idle[size].pop()
    except IndexError:  # asked for, and not looked up before, as another thread may take the last one in between
        owner = torch.empty(size)
    memory = (ctypes.c_float * size).from_address(owner.data_ptr())

    def take_back(reference: weakref.ref[Any]) -> None:
        del _lent[id(reference)]
        idle[size].append(owner)

    reference = weakref.ref(memory, take_back)
    _lent[id(reference)] = reference
    return torch.frombuffer(memory, dtype=torch.float32).view(rows, columns)
