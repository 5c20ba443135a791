"""LUT networks: encoder, layers, group sum."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, takewhile
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.encoders import Encoder
from difflut.layers import GroupSum, Layer
from difflut.registry import Configured


class LUTNetwork(nn.Module):
    """A network of look-up tables: real inputs to class scores.

    In evaluation mode it computes exactly what its truth tables do in hardware.

    Args:
        encoder: Turns inputs into bits; None where the inputs are bits already.
        layers: Applied one after the other.
        groupsum: Sums the last layer's outputs by class; None to return them as they are.

    Raises:
        ValueError: A layer's input size is not the size of what comes before it.
    """

    def __init__(self, encoder: Encoder | None, layers: Sequence[Layer], groupsum: GroupSum | None = None) -> None:
        super().__init__()
        for i, (before, after) in enumerate(pairwise(layers)):
            if before.output_size != after.input_size:
                raise ValueError(
                    f"layers[{i + 1}] has input_size={after.input_size}, "
                    f"but layers[{i}] has output_size={before.output_size}"
                )
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)
        self.groupsum = groupsum

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *features)` to logits `(batch, classes)`."""
        return self.classify(self.encode(x))

    def encode(self, x: Tensor) -> Tensor:
        """`(batch, *features)` to bits `(batch, input_size of the first layer)`."""
        return x.flatten(1) if self.encoder is None else kernels.mark_bits(self.encoder(x).flatten(1))

    def classify(self, x: Tensor | kernels.Bits) -> Tensor:
        """Bits `(batch, features)`, packed or not, to logits `(batch, classes)`."""
        last = self._first_of_lookups()
        for layer in self.layers[:last]:
            x = layer(x)
        if last < len(self.layers):
            return self._look_up(x, self.layers[last:])
        return x if self.groupsum is None else self.groupsum(x)

    def _first_of_lookups(self) -> int:
        """The layers from here on do nothing but look up, so that they and the group sum can be one operation."""
        lookups = takewhile(lambda layer: layer.is_lookup, reversed(self.layers))
        return len(self.layers) - len(list(lookups))

    def _look_up(self, x: Tensor | kernels.Bits, layers: Sequence[Layer]) -> Tensor:
        layers[0].check_input(x)
        learning = torch.is_grad_enabled()
        banks = [layer.bank(learning and (i > 0 or x.requires_grad), x.dtype) for i, layer in enumerate(layers)]
        use_cuda = all(layer.node.use_cuda for layer in layers)
        head = self.groupsum
        if head is None or head.use_randperm or layers[-1].output_size % head.k:
            y = kernels.lookup_stack(x, banks, use_cuda=use_cuda)
            return y if head is None else head(y)
        if not head.tau_is_fixed:
            return head.scale(kernels.lookup_stack(x, banks, head.k, use_cuda=use_cuda))
        return kernels.lookup_stack(x, banks, head.k, head.tau, use_cuda=use_cuda)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As every module does, and then checks what was loaded.

        Raises:
            ValueError: A number is NaN, or a component's state is none.
        """
        keys = super().load_state_dict(state_dict, *args, **kwargs)
        for name, tensor in self.state_dict().items():
            if tensor.isnan().any():
                raise ValueError(f"{name} holds NaN")
        for module in self.modules():
            if isinstance(module, Configured):
                module.check_state()
        if self.encoder is not None and self.encoder.fitted and self.encoder.output_size != self.layers[0].input_size:
            raise ValueError(
                f"the encoder gives {self.encoder.output_size} bits, the first layer reads {self.layers[0].input_size}"
            )
        width = self.layers[-1].output_size
        if self.groupsum is not None and len(self.groupsum.permutation) not in (0, width):
            raise ValueError(f"groupsum permutes {len(self.groupsum.permutation)} features, the last layer has {width}")
        return keys

    def regularization(self) -> Tensor:
        """The sum of all nodes' regularizers: a scalar term of the loss."""
        return torch.stack([layer.node.regularization() for layer in self.layers]).sum()

    @property
    def num_luts(self) -> int:
        """Tables in the network, one for each output of each node."""
        return sum(layer.output_size for layer in self.layers)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def network(
    input_shape: Sequence[int],
    num_classes: int,
    encoder: Encoder,
    layers: Sequence[Callable[..., Layer]],
    tau: float = 1.0,
    use_randperm: bool = False,
    seed: int = 0,
    group_sum: Callable[..., GroupSum] = GroupSum,
) -> LUTNetwork:
    """Builds a network for a data set: each layer is given the width before it, and a seed of its own.

    Args:
        input_shape: Of one sample.
        num_classes: Classes of the group sum.
        encoder: Not necessarily fitted yet.
        layers: Functions that make a layer from `input_size` and `seed`.
        tau: Temperature of the group sum.
        use_randperm: Whether the group sum permutes its input.
        seed: From which the layers' seeds follow.
        group_sum: Makes the group sum; for one whose temperature is learned or scheduled.

    Raises:
        ValueError: There are no layers, or sizes do not fit together.
    """
    if not layers:
        raise ValueError("network.layers must be a list of at least one layer; got none")
    seeds = torch.randint(2**31, (len(layers) + 1,), generator=torch.Generator().manual_seed(seed)).tolist()
    width, built = prod(input_shape) * encoder.num_bits, []
    for make_layer, layer_seed in zip(layers, seeds, strict=False):
        built.append(make_layer(input_size=width, seed=layer_seed))
        width = built[-1].output_size
    if width % num_classes:
        raise ValueError(f"the last layer's output_size={width} is not a multiple of the {num_classes} classes")
    return LUTNetwork(encoder, built, group_sum(num_classes, tau, use_randperm, seeds[-1]))
