"""The compiled CUDA kernels, and calling them."""

import ctypes
from functools import cache

import torch
from torch import Tensor

from difflut.kernels import jit

FILES = ("layout.cu", "lookup.cu", "multilinear.cu", "fourier.cu", "gates.cu", "select.cu", "step.cu")
FLAGS = ("-O3",)

_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
_FUNCTIONS = {
    "pack": "piiiip",
    "lookup": "ppppppiiiii",
    "group_sum": "ppidpiiii",
    "spread": "pipii",
    "lookup_input_gradient": "pppppidpiiiii",
    "lookup_pin_gradient": "pppidipiiii",
    "lookup_table_gradient": "ppidpiiii",
    "lookup_chained_gradient": "pppiiiipppppidii",
    "multilinear": "pppppiiiiii",
    "multilinear_input_gradient": "ppppppppiiiii",
    "multilinear_table_gradient": "ppppiiiii",
    "multilinear_gradients": "pppppppppppiiiiii",
    "fourier_waves": "ppi",
    "fourier": "pppppiiiii",
    "fourier_input_gradient": "ppppppppiiiii",
    "fourier_coefficient_gradient": "pppppiiiii",
    "gates": "ppi",
    "gates_gradient": "pppi",
    "argmax": "piip",
    "read_keys": "pip",
    "signs": "piip",
    "select_adam": "pppiipipiippdddp",
    "choose": "pippppiipp",
    "binarize": "ppppii",
    "cross_entropy": "ppppppii",
    "adam": "pippppddd",
}


def available() -> bool:
    """Whether the kernels are there; the first call compiles them."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("cuda", FILES, FLAGS)
    if loaded is not None:
        for function, arguments in _FUNCTIONS.items():
            types = [_TYPES[kind] for kind in arguments]
            getattr(loaded, f"difflut_cuda_{function}").argtypes = [*types, ctypes.c_void_p]
    return loaded


def launch(function: str, *arguments: Tensor | float | None) -> None:
    """Calls a kernel on the current stream of the device on which its tensors are.

    Raises:
        RuntimeError: It could not be launched.
    """
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor) and argument.is_cuda)
    values = [argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments]
    with torch.cuda.device(device):
        code = getattr(library(), f"difflut_cuda_{function}")(*values, torch.cuda.current_stream().cuda_stream)
    if code:
        raise RuntimeError(f"the CUDA kernel {function} could not be launched: CUDA error {code}")


@cache
def _ticket(device: torch.device, stream: int) -> Tensor:
    return torch.zeros(1, dtype=torch.int32, device=device)


def ticket(device: torch.device) -> Tensor:
    """The zero with which the blocks of a kernel agree which of them ends last; kernels of one stream share it."""
    return _ticket(device, torch.cuda.current_stream(device).cuda_stream)
