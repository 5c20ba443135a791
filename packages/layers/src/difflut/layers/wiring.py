"""Random wiring: which inputs each node reads."""

import math

import numpy as np
import torch
from torch import Tensor


def random_wiring(input_size: int, num_nodes: int, n: int, generator: torch.Generator) -> Tensor:
    """Draws the inputs of every node, spread as evenly as can be.

    Every input is used before any is used twice, and no node reads an input twice where there are at least n inputs.

    Args:
        input_size: Inputs to choose from.
        num_nodes: Nodes of the layer, L.
        n: Inputs of each node.
        generator: The source of randomness.

    Returns:
        Input indices `(L, n)`.
    """
    pins = num_nodes * n
    first = torch.randperm(input_size, generator=generator)
    later = -(-pins // input_size) - 1
    rounds = np.empty((later + 1, input_size), np.int64)
    rounds[0] = first
    keys = torch.rand(later, input_size, generator=generator).numpy()
    # Of few inputs there are thousands of rounds. After each period of them a round ends where a node does, so what
    # follows does not depend on it, and all periods are drawn at once.
    period = n // math.gcd(input_size, n)
    for number in range(period):
        these = np.arange(number or period, later + 1, period)
        # A node that begins in the last round and ends in this one must not meet its own inputs again: those go last.
        begun = rounds[these - 1, input_size - number * input_size % n :]
        keys[these[:, None] - 1, begun] += 1
        rounds[these] = keys[these - 1].argsort(axis=1, kind="stable")
    return torch.from_numpy(rounds).flatten()[:pins].view(num_nodes, n)


def check_inputs(wiring: Tensor, inputs: int) -> None:
    """Raises a `ValueError` where a wiring reads inputs that there are not."""
    lowest, highest = wiring.aminmax()
    if lowest < 0 or highest >= inputs:
        raise ValueError(f"the wiring reads inputs {int(lowest)} to {int(highest)}, of {inputs}")
