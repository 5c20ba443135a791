"""The base of every node type: a bank of learned functions of n bits."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.kernels.validation import MAX_INPUTS
from difflut.nodes.penalties import as_penalties
from difflut.nodes.relaxation import Relaxable
from difflut.registry import Configured, check_call

# The methods of a node type that are computed without autocast.
EXACT = {"soft_table", "truth_table", "tables", "load_table", "relaxed"}


Relaxed = TypeVar("Relaxed", bound=Callable[..., Tensor])


def takes_choices(relaxed: Relaxed) -> Relaxed:
    """A decorator of a node type's `relaxed` that does no more with x than hand it to operations of `kernels`.

    x may then come as `kernels.Choice`, what the pins of a learnable wiring have yet to read.
    """
    relaxed.takes_choices = True  # type: ignore[attr-defined]
    return relaxed


class Node(Configured, Relaxable, nn.Module, ABC):
    """The `L` nodes of one layer, evaluated together; a single node is a bank of one.

    In training a bank computes `relaxed`, a differentiable function; in evaluation it is exactly its truth table. A
    node type states its parameters, its `soft_table`, how `relaxed` evaluates it, and `load_table`, the way back from
    a table to parameters. Evaluation, export, regularizers and initializers follow from these. Its constructor ends
    with `self.reset_parameters()`.

    A node type says by the attributes below what others must know of it; tests and jobs ask for them.

    Attributes:
        inputs: The numbers of inputs n that a node may have.
        reads_bits: Whether training reads inputs as bits: only whether each is one half or more counts.
        gives_bits: Whether training gives the bits of the truth table, and not values of the soft table.
        exact_gradient: Whether the gradients are those of the function that training computes, and no surrogates.
        holds_every_table: Whether `load_table` reaches every table.

    Args:
        input_dim: Inputs of each node, n, one of `inputs`.
        output_dim: Outputs of each node, m, all of the same n inputs.
        width: Output features of the bank, `L * output_dim`; one node where it is not given.
        init_fn: An initializer or its name: fills a weight tensor in place, or a table (see
            `difflut.nodes.initializers`). Without one the node type's own start is kept.
        init_kwargs: Arguments of `init_fn`.
        regularizers: Registered names or functions of the node, in a list, or by label with a weight (see
            `as_penalties`).
        use_cuda: Whether the fused CUDA kernels may be used; the plain torch form runs on the GPU otherwise.

    Raises:
        ValueError: A number is out of range, or `init_kwargs` are given without `init_fn`.
    """

    inputs: ClassVar[Collection[int]] = range(1, MAX_INPUTS + 1)
    reads_bits: ClassVar[bool] = False
    gives_bits: ClassVar[bool] = False
    exact_gradient: ClassVar[bool] = True
    holds_every_table: ClassVar[bool] = True

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        *,
        width: int | None = None,
        init_fn: Callable[..., Any] | None = None,
        init_kwargs: Mapping[str, Any] | None = None,
        regularizers: Mapping[str, Any] | Sequence[Any] | str | None = None,
        use_cuda: bool = True,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        if input_dim not in self.inputs:
            allowed = ", ".join(map(str, self.inputs))
            raise ValueError(f"{kind}: a node may have {allowed} inputs, got input_dim={input_dim}")
        if output_dim < 1:
            raise ValueError(f"{kind}: output_dim={output_dim} must be at least 1")
        width = output_dim if width is None else width
        if width < 1 or width % output_dim:
            raise ValueError(f"{kind}: width={width} is not a positive multiple of output_dim={output_dim}")
        self.input_dim, self.output_dim, self.width = input_dim, output_dim, width
        self.num_nodes = width // output_dim
        self.init_fn, self.init_kwargs = init_fn, dict(init_kwargs or {})
        if init_fn is not None:
            check_call(init_fn, 1, self.init_kwargs)
        elif self.init_kwargs:
            raise ValueError(f"{kind}: init_kwargs={self.init_kwargs} needs init_fn, which takes them")
        self.regularizers = as_penalties(regularizers or {})
        self.use_cuda = use_cuda

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in EXACT & vars(cls).keys():
            setattr(cls, name, kernels.in_full_precision(vars(cls)[name]))

    def check_positive(self, **numbers: float) -> None:
        """Raises a `ValueError` where an argument of the constructor is not positive."""
        for name, number in numbers.items():
            if number <= 0:
                raise ValueError(f"{type(self).__name__}: {name}={number} must be positive")

    @classmethod
    def nearest_inputs(cls, n: int) -> int:
        """The number of inputs nearest to n that a node of this type may have."""
        return min(cls.inputs, key=lambda allowed: abs(allowed - n))

    @abstractmethod
    def soft_table(self) -> Tensor:
        """The relaxed value at each corner, differentiable in the parameters: `(L, m, 2**n)` in [0, 1]."""

    @abstractmethod
    def relaxed(self, x: Tensor | kernels.Bits, wiring: kernels.Wiring) -> Tensor:
        """What training computes: `x (batch, features)` and `wiring (L, n)` to `(batch, L * m)`.

        The wiring may come with placements, P of them, and the outputs then are `(batch, L * m * P)`; on a GPU the
        inputs may come as packed bits. The operations in `kernels` take both as they are. See `takes_choices`, too.
        """

    @abstractmethod
    def load_table(self, table: Tensor) -> None:
        """Sets the parameters to those whose soft table comes nearest to `table (L, m, 2**n)`."""

    def truth_table(self) -> Tensor:
        """The hard table, 1 where the soft table is at least one half: `(L, m, 2**n)` booleans."""
        with torch.no_grad():
            return self.soft_table() >= 0.5

    def forward(self, x: Tensor | kernels.Bits, wiring: kernels.Wiring | None = None) -> Tensor:
        """Evaluates the bank.

        Args:
            x: `(batch, features)`, bits or their relaxation in [0, 1].
            wiring: `(L, n)`, the features each node reads, or such a wiring with its P placements; without it node `i`
                reads the `i`-th n features.

        Returns:
            `(batch, L * m * P)`; the outputs of one node lie side by side, and of each output its placements.

        Raises:
            ValueError: `x` has not the width that the wiring needs.
        """
        if wiring is None:
            pins = self.num_nodes * self.input_dim
            if x.shape[1:] != (pins,):
                raise ValueError(
                    f"{self.num_nodes} nodes of n={self.input_dim} need {pins} inputs, got {tuple(x.shape)}; "
                    "pass a wiring to choose among more"
                )
            wiring = kernels.own_inputs(self.num_nodes, self.input_dim, x.device)
        if self.is_relaxed:
            return self.relaxed(x, wiring)
        return kernels.lookup(x, wiring, self.truth_table().to(x.dtype), use_cuda=self.use_cuda)

    def weights(self) -> list[nn.Parameter]:
        """The parameters that an initializer fills, each `(L, fan_out, fan_in)`; biases keep their start."""
        return [parameter for parameter in self.parameters() if parameter.dim() == 3]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Applies `init_fn`, where one is given."""
        if self.init_fn is None:
            return
        if getattr(self.init_fn, "fills_table", False):
            table = torch.empty_like(self.soft_table())
            self.init_fn(table, **self.init_kwargs)
            self.load_table(table)
        else:
            for weight in self.weights():
                self.init_fn(weight, **self.init_kwargs)

    def regularization(self) -> Tensor | None:
        """The weighted sum of the node's regularizers, a scalar; None where there are none."""
        terms = [penalty(self) for penalty in self.regularizers.values()]
        return torch.stack(terms).sum() if terms else None

    def extra_repr(self) -> str:
        """The arguments of the constructor that are not None, sizes first."""
        hidden = {"init_fn", "init_kwargs", "regularizers", "use_cuda"}
        return ", ".join(f"{name}={value}" for name, value in self.get_params().items() if name not in hidden)


def as_features(y: Tensor, placements: int = 1) -> Tensor:
    """From batch last, `(L, m, P * batch)`, to features, `(batch, L * m * P)`."""
    *nodes, samples = y.shape
    return y.reshape(prod(nodes) * placements, samples // placements).t()
