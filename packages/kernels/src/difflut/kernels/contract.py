"""What every back end offers: the operations on banks with their shapes, forward and backward.

`reference`, `cpp` and `cuda` are modules that satisfy `Backend`. In all of it a bank has L nodes of n inputs and m
outputs, and stands at P placements; x is (batch, features) with `features == placements.features`; outputs and their
gradients are (batch, L * m * P), the placements of an output side by side. Results are stored with the batch as the
fast axis. Sums are done in an order that does not depend on timing.
"""

from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from difflut.kernels.placements import Placements

# What a back end takes for x: a tensor, and on a GPU packed bits too (see `backends.accepted`).
Input = Any
Form = Literal["values", "bits", "addresses"]


class Kept(NamedTuple):
    """What a back end keeps of x for its own backward pass.

    Attributes:
        data: Data in a layout of the back end's own.
        batch: Samples.
        form: Kind of the data: x itself, x as packed bits, or the addresses that nodes took.
    """

    data: Tensor
    batch: int
    form: Form


def save_kept(ctx: Any, kept: Kept, *others: Tensor | None) -> None:
    """Saves what was kept, and other tensors, for the backward pass."""
    ctx.kept = kept.batch, kept.form
    ctx.save_for_backward(kept.data, *others)


def saved_kept(ctx: Any) -> tuple[Any, ...]:
    """What `save_kept` saved, in its order."""
    data, *others = ctx.saved_tensors
    return Kept(data, *ctx.kept), *others


class Selected(NamedTuple):
    """What a learnable wiring comes to.

    Attributes:
        inputs: Inputs, as they were kept.
        pins: The position in the window that each pin reads. (pins,)
    """

    inputs: Kept
    pins: Tensor


class Backend(Protocol):
    """The operations of a back end; see the public function of the same name for what each computes."""

    name: str

    def lookup(self, x: Input, wiring: Tensor, table: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
        """The look-up (batch, L * m * P).

        Raises:
            ValueError: On a CPU: the wiring reads beyond the window.
        """

    def lookup_input_gradient(
        self, kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements
    ) -> Tensor:
        """The gradient of x, (batch, features): differences of `slope` (L, m, 2**n) across each address bit."""

    def lookup_pin_gradient(
        self, kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements
    ) -> Tensor:
        """The gradient of what each pin reads, (batch, L * n * P)."""

    def lookup_table_gradient(
        self, kept: Kept, wiring: Tensor, grad: Tensor, outputs: int, placements: Placements
    ) -> Tensor:
        """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""

    def multilinear(
        self, x: Input, wiring: Tensor, table: Tensor, hard: bool, placements: Placements
    ) -> tuple[Tensor, Kept]:
        """The multilinear extension, or the look-up where `hard`, (batch, L * m * P)."""

    def multilinear_gradients(
        self,
        kept: Kept,
        wiring: Tensor,
        table: Tensor,
        grad: Tensor,
        placements: Placements,
        needs_x: bool,
        needs_table: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""

    def maximum(self, x: Input, wiring: Tensor, least: bool, placements: Placements) -> tuple[Tensor, Kept]:
        """The largest input, or where `least` the smallest, (batch, L * P)."""

    def maximum_gradient(self, kept: Kept, wiring: Tensor, grad: Tensor, placements: Placements) -> Tensor:
        """The gradient of x, (batch, features): what is the largest gets it in equal parts."""

    def fourier(
        self, x: Input, wiring: Tensor, cosines: Tensor, sines: Tensor, placements: Placements
    ) -> tuple[Tensor, Kept]:
        """The Fourier series, (batch, L * m * P)."""

    def fourier_gradients(
        self,
        kept: Kept,
        wiring: Tensor,
        cosines: Tensor,
        sines: Tensor,
        grad: Tensor,
        placements: Placements,
        needs_x: bool,
        needs_coefficients: bool,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of x (batch, features), cosines and sines (L, m, 2**n), each where it is needed."""

    def select(self, x: Input, logits: Tensor, candidates: Tensor | None, placements: Placements) -> Selected:
        """What every pin reads: the first of its largest logits, (window, pins) or, with candidates, (pins, K)."""

    def read(self, selected: Selected, placements: Placements) -> Tensor:
        """The inputs of every pin, (batch, pins * P)."""

    def select_logits_gradient(
        self, inputs: Kept, candidates: Tensor | None, grad: Tensor, placements: Placements
    ) -> Tensor:
        """The gradient of the logits, `(2x - 1)^T g`, from that of the pins (batch, pins * P)."""

    def select_x_gradient(
        self,
        logits: Tensor,
        candidates: Tensor | None,
        selected: Selected,
        tau: float,
        grad: Tensor,
        placements: Placements,
    ) -> Tensor:
        """The gradient of x, (batch, features): that of the pins, spread by `softmax(logits / tau)`."""

    def learned_gradients(
        self,
        logits: Tensor | None,
        candidates: Tensor | None,
        selected: Selected,
        tau: float,
        kept: Kept,
        slope: Tensor,
        grad: Tensor,
        placements: Placements,
        needs_x: bool,
        needs_logits: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of x (batch, features) and logits, each where it is needed, of a bank with chosen inputs.

        They are `select_x_gradient` and `select_logits_gradient` of what each pin gets, (batch, L * n * P), which is
        large at many placements and need not be written down. That is the `lookup_pin_gradient` of `kept` and `slope`;
        where `multilinear` kept values, it is that of the extension of the table `slope`, at many placements. Logits
        may be None where x needs no gradient.
        """
