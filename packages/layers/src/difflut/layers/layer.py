"""The base of every layer: wiring in front of a bank of nodes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.layers.hard import HardLayer, with_placements
from difflut.layers.layer_config import LayerConfig
from difflut.layers.noise import flip_bits, stabilize_gradient
from difflut.layers.shapes import InputSize, Shape, chosen_shape, place
from difflut.layers.wiring import check_inputs
from difflut.nodes import Node, NodeConfig, Relaxable
from difflut.registry import Configured


class Layer(Configured, Relaxable, nn.Module, ABC):
    """A bank of nodes that read the layer's input through a wiring, once or at every window of an image.

    A layer type draws its wiring in its constructor, by `self.generator()`. Its method `wiring` gives the present
    wiring, and where training does more than read through it, the layer type overrides `relaxed`. The entries of a
    wiring are positions in the window, `0` to `self.placements.window - 1`: the same code thus makes a dense layer
    without a kernel size, and a convolution with one.

    Args:
        input_size: Input features, or channels, height and width of an image. `network` gives the shapes of all that
            there is to read, by name, of which the layer takes what it `reads`.
        output_size: Outputs of the bank, a multiple of the nodes' `output_dim`: features, or channels of an image.
        node_type: A node class or its name, or a function that makes one from keyword arguments.
        n: Inputs of each node; where it is not given, the node type's or `node_kwargs`' own.
        node_kwargs: Arguments of the nodes, as `NodeConfig` or as keyword arguments.
        layer_config: Bit flips and gradient stabilisation, as `LayerConfig` or as keyword arguments.
        seed: Seed of the wiring and of the start of the nodes; drawn from torch's global generator where not given.
        kernel_size: Side of the windows, or their height and width. With it the same nodes stand at every window of
            the image; without it the layer is dense.
        stride: Pixels from a window to the next.
        padding: Rows and columns of zeros around the image.
        name: Name by which later layers can read this one.
        reads: Names of the sources, "encoder" or earlier layers, side by side; the layer before where not given.

    Attributes:
        input_shape: `(features,)`, or with a kernel size `(channels, height, width)`.
        output_shape: Features, or (channels, height, width), of its outputs.
        placements: Windows at which the nodes stand.

    Raises:
        ValueError: Sizes do not fit together.
    """

    def __init__(
        self,
        input_size: InputSize,
        output_size: int,
        node_type: Callable[..., Node],
        n: int | None = None,
        node_kwargs: NodeConfig | Mapping[str, Any] | None = None,
        layer_config: LayerConfig | Mapping[str, Any] | None = None,
        seed: int | None = None,
        kernel_size: int | Sequence[int] | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        name: str | None = None,
        reads: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        shape = chosen_shape(input_size, reads)
        self.input_shape = (prod(shape),) if kernel_size is None else shape
        self.input_size = prod(shape) if kernel_size is None else list(shape)
        self.output_size, self.stride, self.padding = output_size, stride, padding
        if kernel_size is not None:
            self.kernel_size = kernel_size
        self.name, self.reads = name, None if reads is None else list(reads)
        self.placements = place(shape, kernel_size, stride, padding)
        self.seed = int(torch.randint(2**31, ())) if seed is None else seed
        self.layer_config = (
            layer_config if isinstance(layer_config, LayerConfig) else LayerConfig(**(layer_config or {}))
        )
        # Forked: making a layer from its seed leaves the global generator where it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.node = node_type(**_node_arguments(node_type, n, node_kwargs), width=output_size)

    node_type = property(lambda self: type(self.node), doc="The class of the nodes.")
    node_kwargs = property(lambda self: self.node.get_params(), doc="The arguments of the nodes.")
    n = property(lambda self: self.node.input_dim, doc="Inputs of each node.")

    def kept_params(self) -> list[str]:
        # Tools such as torchinfo read the kernel size of every module that has one, and None is no size.
        return [name for name in super().kept_params() if name != "kernel_size" or hasattr(self, name)]

    def generator(self) -> torch.Generator:
        """A new source of randomness that follows from the seed and is independent of the nodes' start."""
        return torch.Generator().manual_seed(self.seed ^ 0x5DEECE66)

    @property
    def output_shape(self) -> Shape:
        size, where = self.output_size, self.placements
        return (size,) if len(self.input_shape) == 1 else (size, where.out_height, where.out_width)

    @property
    def in_features(self) -> int:
        return prod(self.input_shape)

    @property
    def out_features(self) -> int:
        return prod(self.output_shape)

    @property
    def has_parameters(self) -> bool:
        """Whether it can learn anything; pooling and merges cannot."""
        return any(True for _ in self.parameters())

    @property
    def num_bits(self) -> int:
        """Bits that say what it learned: the entries of its tables, and of each pin the position that it reads."""
        node, position = self.node, (self.placements.window - 1).bit_length()
        if not self.has_parameters:
            return 0
        return node.num_nodes * (node.output_dim * 2**node.input_dim + node.input_dim * position)

    @abstractmethod
    def wiring(self) -> Tensor:
        """The position in the window that each input of a node reads in the hard network: `(L, n)`."""

    def choices(self) -> Tensor | None:
        """The positions in the window among which each input of a node chooses: `(L, n, K)`; None for all."""
        return self.wiring()[..., None]

    def choice_logits(self) -> Tensor | None:
        """The weights, `(L, n, K)`, of whose largest each pin's choice among `choices` is; None where it is fixed."""
        return None

    def load_wiring(self, wiring: Tensor) -> None:
        """Sets what the inputs of nodes read, `(L, n)`; each entry must be one of the choices of its input.

        Raises:
            ValueError: An entry is no choice of its input.
        """
        if not torch.equal(wiring, self.wiring()):
            raise ValueError(f"the wiring of a {type(self).__name__} layer is fixed; take a learnable one")

    def relaxed(self, x: Tensor | kernels.Bits) -> Tensor:
        """What training computes, `(batch, in_features)` to `(batch, out_features)`."""
        return self.node(x, self.placed_wiring())

    def placed_wiring(self) -> kernels.Wiring:
        """The wiring with its placements, as nodes take it."""
        return with_placements(self.wiring(), self.placements)

    def hard(self) -> HardLayer:
        """What the layer is in hardware: evaluation, circuits, counts and statistics read this."""
        return HardLayer(self.wiring(), self.node.truth_table(), self.placements)

    def soft_table(self) -> Tensor:
        """The relaxed tables: `(L, m, 2**n)` in [0, 1]."""
        return self.node.soft_table()

    def regularization(self) -> Tensor | None:
        """The weighted sum of the nodes' regularizers, a scalar; None where there are none."""
        return self.node.regularization()

    def check_input(self, x: Tensor | kernels.Bits) -> None:
        """Raises a `ValueError` where `x` has not the layer's width."""
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"the layer has input_size={self.input_size}, got an input of shape {tuple(x.shape)}")

    def check_state(self) -> None:
        """Raises a `ValueError` where a node reads an input that the layer has not."""
        check_inputs(self.wiring(), self.placements.window)

    @kernels.in_full_precision
    def forward(self, x: Tensor | kernels.Bits) -> Tensor:
        """Evaluates the layer: `(batch, in_features)` to `(batch, out_features)`, images channel by channel.

        Raises:
            ValueError: `x` has another width.
        """
        self.check_input(x)
        config = self.layer_config
        if self.training and config.flip_probability:
            x = flip_bits(x.float() if isinstance(x, kernels.Bits) else x, config.flip_probability)
        y = self.relaxed(x) if self.is_relaxed else self.node(x, self.placed_wiring())
        if self.training and config.grad_stabilization != "none":
            y = stabilize_gradient(y, config.grad_stabilization, config.grad_target_std, config.grad_subtract_mean)
        return y

    def extra_repr(self) -> str:
        hidden = {"node_type", "node_kwargs", "layer_config", "n"}
        shown = {name: value for name, value in self.get_params().items() if name not in hidden and value is not None}
        return ", ".join(f"{name}={value}" for name, value in shown.items())


def _node_arguments(
    node_type: Callable[..., Node], n: int | None, node_kwargs: NodeConfig | Mapping[str, Any] | None
) -> dict[str, Any]:
    arguments = node_kwargs.to_dict() if isinstance(node_kwargs, NodeConfig) else dict(node_kwargs or {})
    if n is not None and arguments.setdefault("input_dim", n) != n:
        raise ValueError(f"n={n} needs nodes of {n} inputs, got input_dim={arguments['input_dim']} in node_kwargs")
    nearest = isinstance(node_kwargs, NodeConfig) and node_kwargs.nearest
    if nearest and isinstance(node_type, type) and issubclass(node_type, Node):
        arguments["input_dim"] = node_type.nearest_inputs(arguments["input_dim"])
    return arguments
