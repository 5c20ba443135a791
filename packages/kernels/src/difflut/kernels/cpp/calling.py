"""The compiled C++ kernels, and calling them."""

import ctypes
from functools import cache
from typing import Any

import torch

from difflut.kernels import jit
from difflut.kernels.cpp import recording
from difflut.kernels.signatures import Argument, as_values, declare

FILES = (
    "layout.cpp",
    "binarize.cpp",
    "lookup.cpp",
    "multilinear.cpp",
    "maximum.cpp",
    "fourier.cpp",
    "select.cpp",
    "select_gradient.cpp",
    "adam.cpp",
    "step.cpp",
)
FLAGS = ("-O3", "-march=native", "-fopenmp")

# See `signatures`; the number of threads, which is the last argument of all, is left out.
_FUNCTIONS = {
    "transpose": "piiiip",
    "pack_bits": "piiiip",
    "unpack_bits": "piip",
    "lookup": "pppppiiii",
    "lookup_bits": "pppppiiii",
    "lookup_sums": "ppppidpiiii",
    "lookup_input_gradient": "ppppippiiii",
    "lookup_pin_gradient": "ppppppiiii",
    "lookup_table_gradient": "pppippiiii",
    "binarize": "ppi",
    "smooth": "pppii",
    "multilinear": "pppppiiii",
    "multilinear_input_gradient": "ppppppiiii",
    "multilinear_table_gradient": "pppppiiii",
    "maximum": "pppipppiii",
    "maximum_bits": "ppippiii",
    "maximum_gradient": "pppppiii",
    "maximum_bits_gradient": "ppipppiii",
    "fourier_waves": "pip",
    "fourier_fold": "ppiip",
    "fourier_unfold": "piipp",
    "fourier": "pppppiiii",
    "fourier_input_gradient": "ppppppiiii",
    "fourier_coefficient_gradient": "pppppiiii",
    "select_inputs": "piip",
    "select_candidates": "ppiiip",
    "select_read": "pppiip",
    "select_inputs_gradient": "pppppppiiiip",
    "select_candidates_gradient": "pppippppppiiiip",
    "select_x_gradient": "ppipdppppppiiiip",
    "adam": "pipdddd",
    "select_adam": "ppiiippppppdddd",
    "choose": "pipppiipp",
    "cross_entropy": "ppiipp",
}


def available() -> bool:
    """Whether the kernels are there; the first call compiles them."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("cpp", FILES, FLAGS)
    if loaded is not None:
        declare(loaded, "difflut_", {name: f"{kinds}i" for name, kinds in _FUNCTIONS.items()})
        declare(loaded, "difflut_", {"is_binary": "piiii"})
    return loaded


def symbol(function: str) -> Any:
    """A function of the compiled kernels, which must be there."""
    return getattr(library(), f"difflut_{function}")


def call(function: str, *arguments: Argument) -> int:
    """Calls a kernel with torch's number of threads; the tensors must be as it expects them, mostly contiguous."""
    kernel, values = symbol(function), as_values(arguments)
    if (noting := recording.present()) is not None:
        noting.add(kernel, values, arguments)
    return kernel(*values, torch.get_num_threads())
