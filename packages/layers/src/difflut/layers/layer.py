"""The base of every layer: wiring in front of a bank of nodes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.layers.layer_config import LayerConfig
from difflut.layers.regularity import flip_bits, stabilize_gradient
from difflut.layers.wiring import check_inputs
from difflut.nodes import HardLookup, Node, NodeConfig, Relaxable
from difflut.registry import Configured


class Layer(Configured, Relaxable, nn.Module, ABC):
    """A bank of nodes that read the layer's input through a wiring.

    A layer type makes its wiring in its constructor, with randomness from `self.generator()`; says what it is now
    (`wiring`); and, where training does more than read through the wiring, overrides `relaxed`.

    Args:
        input_size: Input features.
        output_size: Output features, a multiple of the nodes' `output_dim`.
        node_type: A node class, or a function that makes one from keyword arguments.
        n: Inputs of each node; where it is not given, the node type's or `node_kwargs`' own.
        node_kwargs: Arguments of the nodes, as `NodeConfig` or as keyword arguments.
        layer_config: Bit flips and gradient stabilisation, as `LayerConfig` or as keyword arguments.
        seed: Decides the wiring and the start of the nodes; drawn from torch's global generator where not given.

    Raises:
        ValueError: Sizes do not fit together.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        node_kwargs: NodeConfig | Mapping[str, Any] | None = None,
        layer_config: LayerConfig | Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if input_size < 1:
            raise ValueError(f"input_size={input_size} must be at least 1")
        self.input_size, self.output_size = input_size, output_size
        self.seed = int(torch.randint(2**31, ())) if seed is None else seed
        self.layer_config = (
            layer_config if isinstance(layer_config, LayerConfig) else LayerConfig(**(layer_config or {}))
        )
        # Forked: making a layer from its seed leaves the global generator where it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.node = node_type(**_node_arguments(n, node_kwargs), width=output_size)

    node_type = property(lambda self: type(self.node), doc="The class of the nodes.")
    node_kwargs = property(lambda self: self.node.get_params(), doc="The arguments of the nodes.")
    n = property(lambda self: self.node.input_dim, doc="Inputs of each node.")

    def generator(self) -> torch.Generator:
        """A new source of randomness that follows from the seed and is independent of the nodes' start."""
        return torch.Generator().manual_seed(self.seed ^ 0x5DEECE66)

    @abstractmethod
    def wiring(self) -> Tensor:
        """The input indices that each node reads in the hard network: `(L, n)`."""

    def relaxed(self, x: Tensor | kernels.Bits) -> Tensor:
        """What training computes, `(batch, input_size)` to `(batch, output_size)`."""
        return self.node(x, self.wiring())

    @property
    def is_lookup(self) -> bool:
        """Whether at present the layer only looks up hard tables, with nothing around that in either pass."""
        config = self.layer_config
        plain = not (self.training and (config.flip_probability or config.grad_stabilization != "none"))
        return plain and (isinstance(self.node, HardLookup) or not self.is_relaxed)

    def bank(self, needs_slope: bool, dtype: torch.dtype) -> kernels.HardBank:
        """What `kernels.lookup_stack` needs of a layer that `is_lookup`."""
        if self.is_relaxed:
            return kernels.HardBank(self.wiring(), *self.node.tables(needs_slope))
        return kernels.HardBank(self.wiring(), self.node.truth_table().to(dtype), None)

    def check_input(self, x: Tensor | kernels.Bits) -> None:
        """Raises a `ValueError` where `x` has not the layer's width."""
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ValueError(f"the layer has input_size={self.input_size}, got an input of shape {tuple(x.shape)}")

    def check_state(self) -> None:
        """Raises a `ValueError` where a node reads an input that the layer has not."""
        check_inputs(self.wiring(), self.input_size)

    def forward(self, x: Tensor | kernels.Bits) -> Tensor:
        """Evaluates the layer: `(batch, input_size)` to `(batch, output_size)`.

        Raises:
            ValueError: `x` has another width.
        """
        self.check_input(x)
        config = self.layer_config
        if self.training and config.flip_probability:
            x = flip_bits(x.float() if isinstance(x, kernels.Bits) else x, config.flip_probability)
        y = self.relaxed(x) if self.is_relaxed else self.node(x, self.wiring())
        if self.training and config.grad_stabilization != "none":
            y = stabilize_gradient(y, config.grad_stabilization, config.grad_target_std, config.grad_subtract_mean)
        return y

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, output_size={self.output_size}, seed={self.seed}"


def _node_arguments(n: int | None, node_kwargs: NodeConfig | Mapping[str, Any] | None) -> dict[str, Any]:
    arguments = node_kwargs.to_dict() if isinstance(node_kwargs, NodeConfig) else dict(node_kwargs or {})
    if n is not None and arguments.setdefault("input_dim", n) != n:
        raise ValueError(f"n={n} needs nodes of {n} inputs, got input_dim={arguments['input_dim']} in node_kwargs")
    return arguments
