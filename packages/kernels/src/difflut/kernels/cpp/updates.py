"""Adam, with gradients as they are or as factors."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from difflut.kernels.cpp import recording
from difflut.kernels.cpp.calling import call
from difflut.kernels.facts import note
from difflut.kernels.signatures import Argument


def adam(rows: Sequence[tuple[Tensor, ...]], scalars: tuple[Argument, ...]) -> None:
    """A step of Adam in place for (parameter, gradient, two moments, number of steps) in each row.

    The scalars are the rate, in memory that a step reads, the two decays, epsilon and the weight decay.
    """
    words = [word for row in rows for word in (*(tensor.data_ptr() for tensor in row), row[0].numel())]
    tensors = (ctypes.c_int64 * len(words))(*words)
    call("adam", tensors, len(rows), *scalars)
    if (noting := recording.present()) is not None:
        noting.keep(rows)  # whose addresses are in `tensors`
    for parameter, *_ in rows:
        _wrote(parameter)


def select_adam(
    bits: Tensor, grad: Tensor, logits: Tensor, moments: tuple[Tensor, ...], scalars: tuple[Argument, ...]
) -> None:
    """A step of Adam as in `adam`, with the gradient as `Factors`; `select` then knows the best inputs."""
    features, pins = logits.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    call("select_adam", bits, grad, grad.shape[1], features, pins, logits, *moments, chosen, *scalars)
    _wrote(logits)
    note(logits, "best_inputs", chosen)
    recording.cannot_repeat()  # as only this code can note it


def _wrote(parameter: Tensor) -> None:
    increment_version(parameter)
    if (noting := recording.present()) is not None:
        noting.wrote(parameter)
