"""The tables of mixtures of all gates of two inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflut.kernels import cuda
from difflut.kernels.backends import backend_for
from difflut.kernels.tracing import untraced

NUM_GATES = 16
MOST_BANKS = 3  # banks that a kernel serves at once


@untraced
def gate_tables(logits: Sequence[Tensor], *, use_cuda: bool = True) -> list[Tensor]:
    """The tables of softmaxes over the 16 functions of two bits (https://arxiv.org/abs/2210.08277, section 3.1).

    A gate's number is its truth table: bit `a` of it is the output at address `a`.

    Args:
        logits: Those of each bank, (..., 16).
        use_cuda: False keeps CUDA tensors on the torch reference.

    Returns:
        The tables of each bank, (..., 4).

    Raises:
        ValueError: There are not 16 logits.
    """
    for bank in logits:
        if bank.shape[-1] != NUM_GATES:
            raise ValueError(f"two bits have {NUM_GATES} functions, got {bank.shape[-1]} logits")
    if all(backend_for(bank, use_cuda) is cuda for bank in logits):
        groups = [logits[first : first + MOST_BANKS] for first in range(0, len(logits), MOST_BANKS)]
        return [table for group in groups for table in _GateTables.apply(*group)]
    return [_mixture(bank) for bank in logits]


def gate_table(logits: Tensor, *, use_cuda: bool = True) -> Tensor:
    """The table of one bank, see `gate_tables`: (..., 4) from (..., 16)."""
    return gate_tables([logits], use_cuda=use_cuda)[0]


def _mixture(logits: Tensor) -> Tensor:
    gates = torch.arange(NUM_GATES, device=logits.device)
    outputs = gates[:, None] >> gates[:4] & 1
    return logits.softmax(-1) @ outputs.to(logits.dtype)


class _GateTables(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *logits: Tensor) -> tuple[Tensor, ...]:
        logits = tuple(bank.contiguous() for bank in logits)
        tables = tuple(bank.new_empty(*bank.shape[:-1], 4) for bank in logits)
        cuda.launch("gates", *_filled(logits), *_filled(tables), *_rows(logits))
        ctx.save_for_backward(*logits)
        return tables

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        logits = ctx.saved_tensors
        found = tuple(map(torch.empty_like, logits))
        grads = tuple(grad.contiguous() for grad in grads)
        cuda.launch("gates_gradient", *_filled(logits), *_filled(grads), *_filled(found), *_rows(logits))
        return found


def _filled(tensors: Sequence[Tensor]) -> list[Tensor | None]:
    return [*tensors, *[None] * (MOST_BANKS - len(tensors))]


def _rows(logits: Sequence[Tensor]) -> list[int]:
    return [bank.numel() // NUM_GATES for bank in logits] + [0] * (MOST_BANKS - len(logits))
