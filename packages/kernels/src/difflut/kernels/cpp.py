"""The operations in C++ for float32 tensors on the CPU: same names and signatures as in `reference`.

Tensors are handed to the kernels feature-major, as (features, batch), so that the batch is the fast axis.
"""

import ctypes
from functools import cache

import torch
from torch import Tensor

from difflut.kernels import jit
from difflut.kernels.validation import unknown_input

name = "cpp"

FILES = ("layout.cpp", "lookup.cpp", "multilinear.cpp")
FLAGS = ("-O3", "-march=native", "-fopenmp")

_LAYOUT = [ctypes.c_void_p, *[ctypes.c_int64] * 4, ctypes.c_void_p, ctypes.c_int64]
_BANK = [*[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 6]
_FUNCTIONS = {
    "difflut_transpose": _LAYOUT,
    "difflut_pack_bits": _LAYOUT,
    "difflut_is_binary": _LAYOUT[:5],
    "difflut_lookup": _BANK,
    "difflut_lookup_input_gradient": _BANK,
    "difflut_lookup_table_gradient": _BANK,
    "difflut_multilinear": _BANK,
    "difflut_multilinear_input_gradient": _BANK,
    "difflut_multilinear_table_gradient": _BANK,
}


def available() -> bool:
    """Whether the kernels are there; the first call compiles them."""
    return library() is not None


@cache
def library(extra_flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load(name, FILES, FLAGS + extra_flags)
    if loaded is not None:
        for function, arguments in _FUNCTIONS.items():
            getattr(loaded, function).argtypes = arguments
    return loaded


def lookup(x: Tensor, wiring: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The look-up (batch, L * m), and the bits of x packed by 64 samples, (features, ceil(batch / 64)) int64."""
    bits = _packed(x)
    return _forward("difflut_lookup", bits, x, wiring, table), bits


def lookup_input_gradient(bits: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor, features: int) -> Tensor:
    """The gradient of x, (batch, features): differences of `slope` (L, m, 2**n) across each address bit."""
    x_grad = grad.new_empty(features, grad.shape[0])
    _call("difflut_lookup_input_gradient", bits, wiring, slope, _feature_major(grad), x_grad, features, slope.shape[1])
    return x_grad.t()


def lookup_table_gradient(bits: Tensor, wiring: Tensor, grad: Tensor, outputs: int) -> Tensor:
    """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""
    nodes, n = wiring.shape
    table_grad = grad.new_empty(nodes, outputs, 2**n)
    _call("difflut_lookup_table_gradient", bits, wiring, None, _feature_major(grad), table_grad, len(bits), outputs)
    return table_grad


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool) -> tuple[Tensor, Tensor]:
    """The multilinear extension, or the look-up where `hard`, (batch, L * m), and x stored feature-major.

    Where all of x is 0 or 1, as behind an encoder, the extension and its gradients are those of the look-up: then its
    faster kernels do the work, and the bits are all that is kept of x.
    """
    if library().difflut_is_binary(x.data_ptr(), *x.stride(), *x.shape):
        return lookup(x, wiring, table)
    if hard:
        return lookup(x, wiring, table)[0], _feature_major(x)
    inputs = _feature_major(x)
    return _forward("difflut_multilinear", inputs, x, wiring, table), inputs


def multilinear_gradients(
    inputs: Tensor, wiring: Tensor, table: Tensor, grad: Tensor, features: int, needs_x: bool, needs_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""
    x_grad = table_grad = None
    grad = _feature_major(grad)
    outputs = table.shape[1]
    if inputs.dtype == torch.int64:
        x_grad = lookup_input_gradient(inputs, wiring, table, grad.t(), features) if needs_x else None
        table_grad = lookup_table_gradient(inputs, wiring, grad.t(), outputs) if needs_table else None
        return x_grad, table_grad
    if needs_x:
        x_grad = torch.empty_like(inputs)
        _call("difflut_multilinear_input_gradient", inputs, wiring, table, grad, x_grad, features, outputs)
        x_grad = x_grad.t()
    if needs_table:
        table_grad = torch.empty_like(table, memory_format=torch.contiguous_format)
        _call("difflut_multilinear_table_gradient", inputs, wiring, None, grad, table_grad, features, outputs)
    return x_grad, table_grad


def _forward(function: str, inputs: Tensor, x: Tensor, wiring: Tensor, table: Tensor) -> Tensor:
    batch, features = x.shape
    y = table.new_empty(table.shape[0] * table.shape[1], batch)
    if _call(function, inputs, wiring, table, y, None, features, table.shape[1]):
        raise unknown_input(wiring, features)
    return y.t()


def _call(
    function: str,
    inputs: Tensor,  # (features, ...)
    wiring: Tensor,  # (L, n)
    table: Tensor | None,  # (L, m, 2**n)
    outputs: Tensor,  # (L * m, batch)
    result: Tensor | None,
    features: int,
    m: int,
) -> int:
    tensors = [None if tensor is None else tensor.contiguous() for tensor in (inputs, wiring, table, outputs, result)]
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    sizes = (outputs.shape[1], features, *wiring.shape, m, torch.get_num_threads())
    return getattr(library(), function)(*pointers, *sizes)


def _packed(x: Tensor) -> Tensor:
    batch, features = x.shape
    bits = torch.empty(features, (batch + 63) // 64, dtype=torch.int64)
    library().difflut_pack_bits(x.data_ptr(), *x.stride(), batch, features, bits.data_ptr(), torch.get_num_threads())
    return bits


def _feature_major(x: Tensor) -> Tensor:
    if x.t().is_contiguous():
        return x.t()
    batch, features = x.shape
    rows = x.new_empty(features, batch)
    library().difflut_transpose(x.data_ptr(), *x.stride(), batch, features, rows.data_ptr(), torch.get_num_threads())
    return rows
