"""Banks behind a learnable wiring, among all inputs or few candidates, as one operation."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import accepted, backend_for
from difflut.kernels.bits import Bits, entries_of, holds_bits
from difflut.kernels.choice import Choice
from difflut.kernels.contract import Backend, Kept, Selected
from difflut.kernels.factors import Factors, left_as_factors
from difflut.kernels.placements import Placements
from difflut.kernels.selection import check_choice, leaves_factors
from difflut.kernels.tracing import untraced
from difflut.kernels.validation import Activations, check_slope, check_table

FACTORED_ON_GPU = 64  # samples up to which a GPU is quicker to form the gradient of the logits where it is used


@untraced
def learned_lookup(
    x: Tensor | Bits,
    logits: Tensor,
    table: Tensor,
    slope: Tensor,
    candidates: Tensor | None = None,
    placements: Placements | None = None,
    *,
    tau: float = 0.001,
    use_cuda: bool = True,
) -> Tensor:
    """Looks up nodes whose pins read their best inputs: `lookup(select(x, logits, candidates), pins, table, slope)`.

    What the pins read is never written down. On a GPU, where there are no candidates and x is known to be bits and has
    no gradient, the gradient of the pins is kept as pairs of bfloat16 numbers, with 16 bits of precision. Without
    candidates, and for small batches, an optimizer may ask for the gradient of the logits as two factors (see
    `accept_factors`).

    Args:
        x: (batch, features)
        logits: See `select`, of L * n pins in the order of the nodes.
        table: (L, m, 2**n)
        slope: (L, m, 2**n)
        candidates: See `select`.
        placements: See `select`.
        tau: See `select`.
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        (batch, L * m * P), stored with the batch as the fast axis.

    Raises:
        ValueError: The arguments do not fit each other.
    """
    placements = check_learned(x, logits, table, slope, candidates, placements, tau)
    backend = backend_for(table, use_cuda)
    if backend is cuda and candidates is None and placements.is_dense and _serves_dense(x, logits):
        return entries_of(table, _DenseOnGPU.apply(x, logits, table, slope))
    x = accepted(x, backend)
    return entries_of(table, _Learned.apply(x, logits, table, slope, candidates, placements, tau, False, backend))


def learned_extension(choice: Choice, table: Tensor, hard: bool, backend: Backend) -> Tensor:
    """`multilinear` of nodes that read their own pins, which stand at many placements or choose among bits.

    What the pins read is never written down.
    """
    x, logits, chosen = choice.x, choice.logits, (choice.candidates, choice.placements)
    if holds_bits(x):  # at a corner the extension and its gradients are the look-up's
        return learned_lookup(x, logits, table, table, *chosen, tau=choice.tau, use_cuda=choice.use_cuda)
    check_learned(x, logits, table, table, *chosen, choice.tau)
    return _Learned.apply(x, logits, table, None, *chosen, choice.tau, hard, backend)


def check_learned(
    x: Activations,
    logits: Tensor,
    table: Tensor,
    slope: Tensor,
    candidates: Tensor | None,
    placements: Placements | None,
    tau: float,
) -> Placements:
    """Checks the arguments of a `learned_lookup`; returns its placements.

    Raises:
        ValueError: They do not fit each other.
    """
    placements = check_choice(x, logits, candidates, placements, tau)
    n = check_table(x, table)
    check_slope(slope, table)
    pins = logits.shape[1] if candidates is None else logits.shape[0]
    if pins != len(table) * n:
        raise ValueError(f"{len(table)} nodes of n={n} need {len(table) * n} pins, got logits of {pins}")
    return placements


def _serves_dense(x: Tensor | Bits, logits: Tensor) -> bool:
    return holds_bits(x) and not x.requires_grad and logits.is_contiguous() and len(x) > 0


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor | Bits,
        logits: Tensor,
        table: Tensor,
        slope: Tensor | None,
        candidates: Tensor | None,
        placements: Placements,
        tau: float,
        hard: bool,
        backend: Backend,
    ) -> Tensor:
        inputs, pins = backend.select(x, logits, candidates, placements)
        wiring = pins.view(len(table), -1)
        if backend is cuda and inputs.form == "bits":
            x = Bits(inputs.data, inputs.batch)  # packed once, for both
        if slope is None:
            y, kept = backend.multilinear(x, wiring, table, hard, placements)
            inputs, slope, ctx.is_extension = kept, table, True
        else:
            y, kept = backend.lookup(x, wiring, table, placements)
            ctx.is_extension = False
        ctx.backend, ctx.placements, ctx.tau, ctx.logits, ctx.outputs = backend, placements, tau, logits, table.shape[1]
        ctx.forms, needed = (inputs[1:], kept[1:]), logits if ctx.needs_input_grad[0] else None
        ctx.save_for_backward(inputs.data, kept.data, pins, wiring, slope, needed, candidates)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *data, pins, wiring, slope, logits, candidates = ctx.saved_tensors
        inputs, kept = (Kept(tensor, *form) for tensor, form in zip(data, ctx.forms, strict=True))
        backend, placements, needed = ctx.backend, ctx.placements, ctx.needs_input_grad
        x_grad = logits_grad = table_grad = None
        needs_x, needs_logits = needed[:2]
        if needs_logits and candidates is None and placements.is_dense:
            needs_logits = not leaves_factors(
                backend,
                ctx.logits,
                inputs,
                lambda: backend.lookup_pin_gradient(kept, wiring, slope, grad, placements),
            )
        if needs_x or needs_logits:
            selected = Selected(inputs, pins)
            x_grad, logits_grad = backend.learned_gradients(
                logits, candidates, selected, ctx.tau, kept, slope, grad, placements, needs_x, needs_logits
            )
        if needed[2] and ctx.is_extension:
            _, table_grad = backend.multilinear_gradients(kept, wiring, slope, grad, placements, False, True)
        elif needed[2]:
            table_grad = backend.lookup_table_gradient(kept, wiring, grad, ctx.outputs, placements)
        return x_grad, logits_grad, table_grad, None, None, None, None, None, None


class _DenseOnGPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor | Bits, logits: Tensor, table: Tensor, slope: Tensor) -> Tensor:
        bits = Bits(cuda.pack(x), len(x))
        wiring = cuda.best_inputs(logits).view(len(table), -1)
        y, kept = cuda.lookup(bits, wiring, table, Placements(x.shape[1]))
        ctx.logits, ctx.shape, ctx.features = logits, table.shape, x.shape[1]
        ctx.save_for_backward(bits.words, kept.data, slope)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        bits, codes, slope = ctx.saved_tensors
        batch, placements = len(grad), Placements(ctx.features)
        upstream = cuda.Upstream(cuda.feature_major(grad), ctx.shape, placements)
        table_grad = logits_grad = None
        if ctx.needs_input_grad[2]:
            table_grad = cuda.table_gradient(codes, ctx.shape[2].bit_length() - 1, upstream)
        if ctx.needs_input_grad[1]:

            def factors() -> Factors:
                return Factors(Kept(bits, batch, "bits"), cuda.pin_gradient(codes, slope, upstream))

            if batch > FACTORED_ON_GPU or not left_as_factors(ctx.logits, factors):
                halves = cuda.pin_gradient(codes, slope, upstream, split=True)
                logits_grad = torch.mm(cuda.signs(bits), halves.t(), out_dtype=torch.float32)
        return None, logits_grad, table_grad, None
