"""What the operations on banks demand of their arguments."""

import torch
from torch import Tensor

MAX_INPUTS = 8


def check_bank(x: Tensor, wiring: Tensor, table: Tensor) -> None:
    """Checks shapes, types and devices of a bank's arguments.

    That the wiring stays below the number of features is left to the back ends, which see its entries anyway: on a
    GPU, asking for them here would stop the stream.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    if x.ndim != 2:
        raise ValueError(f"x needs the shape (batch, features), got {tuple(x.shape)}")
    if wiring.ndim != 2 or wiring.dtype != torch.int64:
        raise ValueError(f"wiring needs the shape (nodes, n) and int64, got {tuple(wiring.shape)} of {wiring.dtype}")
    nodes, n = wiring.shape
    if not 1 <= n <= MAX_INPUTS:
        raise ValueError(f"a node has 1 to {MAX_INPUTS} inputs, got n={n} from a wiring of shape {tuple(wiring.shape)}")
    check_table(x, table)
    if table.shape[2] != 2**n:
        raise ValueError(f"n={n} needs tables of {2**n} entries, got {table.shape[2]}")
    if table.shape[0] != nodes:
        raise ValueError(f"wiring has {nodes} nodes, but table has {table.shape[0]}")
    if wiring.device != table.device:
        raise ValueError(f"wiring and table need one device, got {wiring.device} and {table.device}: use .to()")


def check_table(x: Tensor, table: Tensor) -> int:
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


def unknown_input(wiring: Tensor, features: int) -> ValueError:
    """The error for a wiring that reads inputs which x has not."""
    low, high = (int(bound) for bound in wiring.aminmax())
    return ValueError(
        f"wiring reads inputs {low} to {high}, but x has {features} features: its entries must be 0 to {features - 1}"
    )
