"""What the operations on banks demand of their arguments."""

from typing import Protocol

import torch
from torch import Tensor

from difflut.kernels.placements import PlacedWiring, Placements, Wiring, placed

MAX_INPUTS = 8


class Activations(Protocol):
    """What is asked of (batch, features): of a tensor, of packed bits, or of what a bank will give."""

    @property
    def ndim(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...


def check_bank(x: Activations, wiring: Wiring, table: Tensor) -> PlacedWiring:
    """Checks shapes, types and devices of a bank's arguments; returns the wiring with its placements.

    Whether the wiring stays within the window is not checked here: on a CPU, the kernels check it as they read it; on a
    GPU, reading it here would stop the stream.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    reads = check_reads(x, wiring)
    entries, (nodes, n) = reads.wiring, reads.wiring.shape
    check_table(x, table)
    if table.shape[2] != 2**n:
        raise ValueError(f"n={n} needs tables of {2**n} entries, got {table.shape[2]}")
    if table.shape[0] != nodes:
        raise ValueError(f"wiring has {nodes} nodes, but table has {table.shape[0]}")
    if entries.device != table.device:
        raise ValueError(f"wiring and table need one device, got {entries.device} and {table.device}: use .to()")
    return reads


def check_reads(x: Activations, wiring: Wiring) -> PlacedWiring:
    """Checks what a bank reads of x and how; returns the wiring with its placements.

    Raises:
        ValueError: They do not fit each other.
    """
    reads = check_rows(x, wiring)
    entries = reads.wiring
    if entries.ndim != 2 or entries.dtype != torch.int64:
        raise ValueError(f"wiring needs the shape (nodes, n) and int64, got {tuple(entries.shape)} of {entries.dtype}")
    n = entries.shape[1]
    if not 1 <= n <= MAX_INPUTS:
        raise ValueError(
            f"a node has 1 to {MAX_INPUTS} inputs, got n={n} from a wiring of shape {tuple(entries.shape)}"
        )
    return reads


def check_rows(x: Activations, wiring: Wiring) -> PlacedWiring:
    """Checks that x has the rows of the placements; returns the wiring with its placements.

    Raises:
        ValueError: It has not.
    """
    if x.ndim != 2:
        raise ValueError(f"x needs the shape (batch, features), got {tuple(x.shape)}")
    reads = placed(wiring, x.shape[1])
    check_width(x, reads.placements)
    return reads


def check_width(x: Activations, placements: Placements) -> None:
    """Checks that x has as many features as the image has rows.

    Raises:
        ValueError: It has not.
    """
    if x.shape[1] != placements.features:
        raise ValueError(
            f"placements over {placements.channels} channels of {placements.height} x {placements.width} pixels need "
            f"{placements.features} features, got x with {x.shape[1]}"
        )


def check_table(x: Activations, table: Tensor) -> int:
    """Checks the tables of a bank that reads x, and returns n.

    Raises:
        ValueError: They are no tables, or x is of another type or on another device.
    """
    if table.ndim != 3:
        raise ValueError(f"table needs the shape (nodes, outputs, 2**n), got {tuple(table.shape)}")
    n = table.shape[2].bit_length() - 1
    if table.shape[2] != 2**n or not 1 <= n <= MAX_INPUTS:
        raise ValueError(f"a node has 1 to {MAX_INPUTS} inputs and 2**n entries, got tables of {table.shape[2]}")
    if x.dtype != table.dtype:
        raise ValueError(f"x and table need one dtype, got {x.dtype} and {table.dtype}: use x.to(table.dtype)")
    if x.device != table.device:
        raise ValueError(f"x and table need one device, got {x.device} and {table.device}: use .to()")
    return n


def check_slope(slope: Tensor, table: Tensor) -> None:
    """Checks that a slope fits its table.

    Raises:
        ValueError: It does not.
    """
    if slope.shape != table.shape or slope.dtype != table.dtype:
        raise ValueError(
            f"slope needs the table's shape and dtype, {tuple(table.shape)} of {table.dtype}, "
            f"got {tuple(slope.shape)} of {slope.dtype}"
        )


def unknown_input(wiring: Tensor, placements: Placements) -> ValueError:
    """The error for a wiring that reads inputs outside the window."""
    low, high = (int(bound) for bound in wiring.aminmax())
    owner = "x has {} features" if placements.is_dense else "the window has {} inputs"
    return ValueError(
        f"wiring reads inputs {low} to {high}, but {owner.format(placements.window)}: "
        f"its entries must be 0 to {placements.window - 1}"
    )
