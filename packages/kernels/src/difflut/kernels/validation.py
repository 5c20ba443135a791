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
    if table.ndim != 3:
        raise ValueError(f"table needs the shape (nodes, outputs, 2**n), got {tuple(table.shape)}")
    nodes, n = wiring.shape
    if not 1 <= n <= MAX_INPUTS:
        raise ValueError(f"a node has 1 to {MAX_INPUTS} inputs, got n={n} from a wiring of shape {tuple(wiring.shape)}")
    if table.shape[2] != 2**n:
        raise ValueError(f"n={n} needs tables of {2**n} entries, got {table.shape[2]}")
    if table.shape[0] != nodes:
        raise ValueError(f"wiring has {nodes} nodes, but table has {table.shape[0]}")
    if x.dtype != table.dtype:
        raise ValueError(f"x and table need one dtype, got {x.dtype} and {table.dtype}: use x.to(table.dtype)")
    if not x.device == wiring.device == table.device:
        raise ValueError(
            f"x, wiring and table need one device, got {x.device}, {wiring.device} and {table.device}: use .to()"
        )


def unknown_input(wiring: Tensor, features: int) -> ValueError:
    """The error for a wiring that reads inputs which x has not."""
    low, high = (int(bound) for bound in wiring.aminmax())
    return ValueError(
        f"wiring reads inputs {low} to {high}, but x has {features} features: its entries must be 0 to {features - 1}"
    )
