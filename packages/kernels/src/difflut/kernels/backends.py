"""Which implementation of the operations serves a tensor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from difflut.kernels import cpp, cuda, reference
from difflut.kernels.bits import Bits
from difflut.kernels.contract import Backend

CHOICES = ("auto", "reference")

_choice = os.environ.get("DIFFLUT_BACKEND", "auto")


def backend_for(tensor: Tensor | Bits, use_cuda: bool = True) -> Backend:
    """The back end that serves a tensor, or packed bits.

    Compiled kernels take float32. Everything else, and every device without kernels, is served by the reference; with
    `use_cuda=False`, so are CUDA tensors.
    """
    if _checked(_choice) == "reference" or tensor.dtype != torch.float32:
        return reference
    if tensor.device.type == "cpu" and cpp.available():
        return cpp
    if tensor.device.type == "cuda" and use_cuda and cuda.available():
        return cuda
    return reference


def accepted(x: Tensor | Bits, backend: Backend) -> Tensor | Bits:
    """x as a back end takes it: only CUDA kernels read packed bits."""
    return x.float() if isinstance(x, Bits) and backend is not cuda else x


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Within this context `"reference"` forces plain torch; `"auto"` takes the fastest back end that fits.

    A backward pass stays with the back end that its forward pass took. `DIFFLUT_BACKEND` sets the choice for a process.
    """
    global _choice
    previous, _choice = _choice, _checked(name)
    try:
        yield
    finally:
        _choice = previous


def _checked(name: str) -> str:
    if name not in CHOICES:
        raise ValueError(f"no backend choice is called {name!r}; known: {', '.join(CHOICES)}")
    return name
