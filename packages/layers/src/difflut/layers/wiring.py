"""Random wiring: which inputs each node reads."""

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
    rounds = [torch.randperm(input_size, generator=generator)]
    for start in range(input_size, pins, input_size):
        previous = rounds[-1]
        # A node that begins in the last round and ends in this one must not meet its own inputs again: those go last.
        begun = previous[input_size - start % n :] if start % n else previous[:0]
        keys = torch.rand(input_size, generator=generator)
        keys[begun] += 1
        rounds.append(keys.argsort())
    return torch.cat(rounds)[:pins].view(num_nodes, n)
