"""The C interface of compiled kernels: pointers, integers and doubles."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}


def declare(library: ctypes.CDLL, prefix: str, functions: Mapping[str, str]) -> None:
    """Tells a library the arguments of its functions, a letter of `KINDS` each; the prefix begins their names."""
    for name, kinds in functions.items():
        getattr(library, prefix + name).argtypes = [KINDS[kind] for kind in kinds]


Argument = Tensor | ctypes.Array[Any] | float | None


def as_values(arguments: Sequence[Argument]) -> list[ctypes.Array[Any] | float | None]:
    """Arguments as C takes them: of a tensor, the address of its first entry."""
    return [argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments]
