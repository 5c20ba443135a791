"""Other libraries' networks of the same shape, to be timed beside ours where they are installed."""

from collections.abc import Callable, Sequence

from torch import nn


def torch_dwn(node: str, first_layer: str, input_size: int, widths: Sequence[int], n: int, classes: int) -> nn.Module:
    """The network of DWN's authors (arXiv 2410.11112); needs a GPU."""
    import torch_dwn as dwn

    sizes = [input_size, *widths]
    mappings = [first_layer] + (len(widths) - 1) * ["random"]
    layers = [
        dwn.LUTLayer(inputs, outputs, n=n, mapping=mapping)
        for inputs, outputs, mapping in zip(sizes, widths, mappings, strict=False)
    ]
    return nn.Sequential(*layers, dwn.GroupSum(k=classes, tau=10.0))


def torchlogix(node: str, first_layer: str, input_size: int, widths: Sequence[int], n: int, classes: int) -> nn.Module:
    """The dense network of torchlogix in the parametrisation of the node type."""
    from torchlogix.layers import GroupSum, LogicDense

    parametrization = {"difflogic": "raw"}.get(node, node)
    sizes = [input_size, *widths]
    layers = [
        LogicDense(inputs, outputs, lut_rank=n, parametrization=parametrization)
        for inputs, outputs in zip(sizes, widths, strict=False)
    ]
    return nn.Sequential(*layers, GroupSum(classes, tau=10.0))


# Each with the node types that it knows, and the types of the first layer.
PEERS: dict[str, tuple[Callable[..., nn.Module], Sequence[str], Sequence[str]]] = {
    "torch_dwn": (torch_dwn, ("dwn",), ("random", "learnable")),
    "torchlogix": (torchlogix, ("warp", "light", "difflogic"), ("random",)),
}
