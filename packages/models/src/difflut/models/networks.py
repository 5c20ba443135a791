"""LUT networks: encoder, layers, group sum."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.encoders import Encoder
from difflut.layers import GroupSum, HardLayer, Layer, fusion
from difflut.models.graph import ENCODER, Graph
from difflut.registry import Configured, checked_constructor


class Stage(NamedTuple):
    """A layer in hardware, and what it reads: numbers of layers, -1 for the encoder's bits, side by side."""

    layer: HardLayer
    sources: tuple[int, ...]


class LUTNetwork(nn.Module):
    """A network of look-up tables: real inputs to class scores.

    In evaluation mode it computes exactly what its truth tables do in hardware.

    Args:
        encoder: Turns inputs into bits; None where the inputs are bits already.
        layers: Layers in the order of evaluation; each reads the one before, or the sources that it names.
        groupsum: Sums the last layer's outputs, or those of the layers that it names, by class; None to return the last
            layer's as they are.

    Raises:
        ValueError: A layer's input size is not the size of what it reads, or there is no such source.
    """

    @checked_constructor
    def __init__(self, encoder: Encoder | None, layers: Sequence[Layer], groupsum: GroupSum | None = None) -> None:
        super().__init__()
        if not len(layers):
            raise ValueError("layers=[] must hold at least one layer")
        self.graph = Graph(layers, groupsum)
        self.encoder = encoder
        self.layers = cast(Sequence[Layer], nn.ModuleList(layers))
        self.groupsum = groupsum
        self._check_sizes()

    def _check_sizes(self) -> None:
        size = self.encoded_size()
        if self.encoder is not None and self.encoder.fitted and self.encoder.output_size != size:
            raise ValueError(f"the encoder gives {self.encoder.output_size} bits, the first layer reads {size}")
        if self.groupsum is not None:
            for number in self.head_sources:
                self.groupsum.check_features(self.layers[number].out_features)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *features)` to logits `(batch, classes)`."""
        return self.classify(self.encode(x))

    def encode(self, x: Tensor) -> Tensor:
        """`(batch, *features)` to bits `(batch, features * bits)`, in the order of `bit_order` where there is one.

        Raises:
            TypeError: Without an encoder, `x` is no tensor.
        """
        # In training bits have the type of the parameters; comparisons are in float32, as in hardware.
        relaxed = any(layer.is_relaxed for layer in self.layers)
        dtype = next(p for layer in self.layers for p in layer.parameters()).dtype if relaxed else torch.float32
        if self.encoder is None:
            if not isinstance(x, Tensor):
                raise TypeError(f"the network needs a tensor, got a {type(x).__name__}; take torch.as_tensor(x)")
            return x.flatten(1).float().to(dtype)
        bits, size = self.encoder(x).flatten(1).to(dtype), self.image_size()
        if size is not None:
            bits = bits.unflatten(1, (prod(size), -1)).transpose(1, 2).flatten(1)
        return kernels.mark_bits(bits)

    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the image that convolutions read from the encoder; None where only dense layers do."""
        for layer, sources in zip(self.layers, self.graph.sources, strict=True):
            if ENCODER in sources and not layer.placements.is_dense:
                return layer.placements.height, layer.placements.width
        return None

    def bit_order(self) -> Tensor | None:
        """The bit of the encoder that each input of the first layers is, counted by features; None if in order.

        Samples are `(height, width, channels)` and an encoder keeps the bits of a feature together. Convolutions read
        images channel by channel, and of each channel bit by bit.
        """
        size = self.image_size()
        if self.encoder is None or size is None:
            return None
        return torch.arange(self.encoded_size()).view(prod(size), -1).t().flatten()

    def encoded_size(self) -> int:
        """The number of bits of the encoder, which the layers that read it say."""
        sizes = {i: layer.out_features for i, layer in enumerate(self.layers)}
        for layer, sources in zip(self.layers, self.graph.sources, strict=True):
            if ENCODER in sources:
                others = sum(sizes[number] for number in sources if number != ENCODER)
                return (layer.in_features - others) // sources.count(ENCODER)
        raise ValueError("no layer reads the encoder")

    @kernels.untraced
    @kernels.in_full_precision
    def classify(self, x: Tensor | kernels.Bits) -> Tensor:
        """Bits `(batch, features)`, packed or not, to logits `(batch, classes)`."""
        layers, graph, head = list(self.layers), self.graph, self.groupsum
        outputs: dict[int, Tensor | kernels.Bits] = {ENCODER: x}
        start = 0
        while start < len(layers):
            end = graph.run(layers, start, [number for number, y in outputs.items() if kernels.holds_bits(y)])
            if end == len(layers) and end > start and graph.head_sources == (end - 1,):
                return self._look_up(outputs, start, end, head)[0]
            if end > start:
                outputs |= zip(graph.outputs(start, end), self._look_up(outputs, start, end, None), strict=True)
            else:
                read = [outputs[number] for number in graph.sources[start]]
                x = read[0] if len(read) == 1 else kernels.side_by_side(read)
                end = graph.tree(layers, start)
                outputs[end - 1] = layers[start](x) if end == start + 1 else self._climb(x, layers[start:end])
            outputs = {number: y for number, y in outputs.items() if not graph.is_last_use(number, end - 1)}
            start = end
        read = [outputs[number] for number in graph.head_sources]
        if head is not None:
            return head(*read)
        return read[0].float() if isinstance(read[0], kernels.Bits) else read[0]

    def _look_up(
        self, known: Mapping[int, Tensor | kernels.Bits], start: int, end: int, head: GroupSum | None
    ) -> list[Tensor]:
        """What the layers from `start` to `end` give to those behind them; with a head, the logits."""
        wanted = self.graph.outputs(start, end)
        if not wanted:
            return []
        numbers = self.graph.behind(wanted, start)
        inputs = [known[number] for number in numbers if number < start]
        layers = [self.layers[number] for number in numbers if number >= start]
        reads = [self.graph.sources[number] for number in numbers if number >= start]
        learning = {number for number in numbers if number >= start or known[number].requires_grad}
        if not torch.is_grad_enabled():
            learning.clear()
        banks = []
        for layer, read in zip(layers, reads, strict=True):
            if not read[1:] and read[0] in known:
                layer.check_input(known[read[0]])
            banks.append(fusion.bank(layer, not learning.isdisjoint(read), inputs[0].dtype))
        place = {number: i for i, number in enumerate(numbers)}
        outputs = [place[number] for number in wanted]
        sources = [[place[number] for number in read] for read in reads]
        use_cuda = all(layer.node.use_cuda for layer in layers)
        look_up = partial(kernels.lookup_graph, inputs, banks, sources, outputs, use_cuda=use_cuda)
        if head is None:
            return look_up()
        sums = not isinstance(banks[-1], kernels.Maximum) and fusion.is_plain_sum(head)
        if not sums or layers[-1].out_features % head.k:
            return [head(*look_up())]
        if head.tau_is_fixed:
            return look_up(head.k, head.tau)
        return [head.scale(*look_up(head.k))]

    @staticmethod
    def _climb(x: Tensor | kernels.Bits, layers: Sequence[Layer]) -> Tensor:
        layers[0].check_input(x)
        return fusion.tree(x, layers)

    def hard(self) -> list[Stage]:
        """What every layer is in hardware, and what it reads."""
        return [Stage(layer.hard(), read) for layer, read in zip(self.layers, self.graph.sources, strict=True)]

    @property
    def head_sources(self) -> tuple[int, ...]:
        """The layers whose outputs are counted."""
        return self.graph.head_sources

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Loads a state as every module does, and then checks it.

        Raises:
            ValueError: A number is NaN, or the state of a component is not valid.
        """
        keys = super().load_state_dict(state_dict, *args, **kwargs)
        for name, tensor in self.state_dict().items():
            if tensor.isnan().any():
                raise ValueError(f"{name} holds NaN")
        for module in self.modules():
            if isinstance(module, Configured):
                module.check_state()
        self._check_sizes()
        widths = [self.layers[number].out_features for number in self.head_sources]
        if self.groupsum is not None and len(self.groupsum.permutation) not in (0, *widths):
            raise ValueError(f"groupsum permutes {len(self.groupsum.permutation)} features; it reads {widths}")
        return keys

    @kernels.in_full_precision
    def regularization(self) -> Tensor | None:
        """The sum of the regularizers of all nodes that learn, a scalar term of the loss; None where there are none."""
        terms = [
            term
            for layer in self.layers
            if (term := layer.regularization()) is not None and any(p.requires_grad for p in layer.parameters())
        ]
        return torch.stack(terms).sum() if terms else None

    @property
    def num_luts(self) -> int:
        """Tables in the network, one for each output of each node; those that stand at many placements count once."""
        return sum(layer.output_size for layer in self.layers)

    @property
    def num_lookups(self) -> int:
        """Look-ups for one sample: tables times their placements."""
        return sum(layer.out_features for layer in self.layers)

    @property
    def num_bits(self) -> int:
        """Bits of state: entries and wiring of all tables that learn, those that stand at many placements once."""
        return sum(layer.num_bits for layer in self.layers)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
