"""The operations in C++ for float32 tensors on the CPU: same names and signatures as in `reference`.

Tensors are handed to the kernels feature-major, as (features, batch), so that the batch is the fast axis.
"""

import ctypes
import weakref
from collections import defaultdict, deque
from collections.abc import MutableMapping, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.utils.weak import WeakTensorKeyDictionary

from difflut.kernels import jit
from difflut.kernels.validation import unknown_input

name = "cpp"

FILES = ("layout.cpp", "lookup.cpp", "multilinear.cpp", "fourier.cpp", "select.cpp", "adam.cpp")
FLAGS = ("-O3", "-march=native", "-fopenmp")
FACTORED_BATCH = 128  # up to here the gradient of dense selection can be formed where it is used


def _arguments(kinds: str) -> list[type]:
    """The types of pointers, integers and doubles."""
    return [{"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}[kind] for kind in kinds]


_LAYOUT = _arguments("piiiipi")
_BANK = _arguments("pppppiiiiii")
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
    "difflut_fourier_waves": _arguments("pipi"),
    "difflut_fourier_fold": _arguments("ppiipi"),
    "difflut_fourier_unfold": _arguments("piippi"),
    "difflut_fourier": _BANK,
    "difflut_fourier_input_gradient": _BANK,
    "difflut_fourier_coefficient_gradient": _BANK,
    "difflut_binarize": _arguments("ppii"),
    "difflut_select_inputs": _arguments("piipi"),
    "difflut_select_candidates": _arguments("ppiiipi"),
    "difflut_select_read": _arguments("ppiipi"),
    "difflut_select_inputs_gradient": _arguments("ppiiipi"),
    "difflut_select_candidates_gradient": _arguments("pppipiipi"),
    "difflut_select_x_gradient": _arguments("ppipdpiiipi"),
    "difflut_adam": _arguments("piddddi"),
    "difflut_select_adam": _arguments("ppiiipppppddddi"),
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
    _call("difflut_lookup_input_gradient", bits, wiring, slope, feature_major(grad), x_grad, features, slope.shape[1])
    return x_grad.t()


def lookup_table_gradient(bits: Tensor, wiring: Tensor, grad: Tensor, outputs: int) -> Tensor:
    """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""
    nodes, n = wiring.shape
    table_grad = grad.new_empty(nodes, outputs, 2**n)
    _call("difflut_lookup_table_gradient", bits, wiring, None, feature_major(grad), table_grad, len(bits), outputs)
    return table_grad


def binarize(values: Tensor) -> Tensor:
    """Clamps contiguous values to [-1, 1] in place; returns `values >= 0` as 0. and 1."""
    bits = torch.empty_like(values)
    _run("binarize", values, bits, values.numel())
    return bits


def is_binary(x: Tensor) -> bool:
    """Whether all of x (batch, features) is exactly 0 or 1."""
    return bool(library().difflut_is_binary(x.data_ptr(), *x.stride(), *x.shape))


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool) -> tuple[Tensor, Tensor]:
    """The multilinear extension, or the look-up where `hard`, (batch, L * m), and x stored feature-major.

    Where all of x is 0 or 1, as behind an encoder, the extension and its gradients are those of the look-up: then its
    faster kernels do the work, and the bits are all that is kept of x.
    """
    if is_binary(x):
        return lookup(x, wiring, table)
    if hard:
        return lookup(x, wiring, table)[0], feature_major(x)
    inputs = feature_major(x)
    return _forward("difflut_multilinear", inputs, x, wiring, table), inputs


def multilinear_gradients(
    inputs: Tensor, wiring: Tensor, table: Tensor, grad: Tensor, features: int, needs_x: bool, needs_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""
    x_grad = table_grad = None
    grad = feature_major(grad)
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


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """The Fourier series, (batch, L * m), and the waves of x, (2, features, batch)."""
    rows = feature_major(x)
    waves = rows.new_empty(2, *rows.shape)
    _run("fourier_waves", rows, rows.numel(), waves)
    return _forward("difflut_fourier", waves, x, wiring, _folded(cosines, sines)), waves


def fourier_gradients(
    waves: Tensor,
    wiring: Tensor,
    cosines: Tensor,
    sines: Tensor,
    grad: Tensor,
    features: int,
    needs_x: bool,
    needs_coefficients: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x (batch, features), cosines and sines (L, m, 2**n), where they are needed."""
    x_grad = cosines_grad = sines_grad = None
    grad, outputs = feature_major(grad), cosines.shape[1]
    if needs_x:
        x_grad, folded = torch.empty_like(waves[0]), _folded(cosines, sines)
        _call("difflut_fourier_input_gradient", waves, wiring, folded, grad, x_grad, features, outputs)
        x_grad = x_grad.t()
    if needs_coefficients:
        folded = grad.new_empty(*cosines.shape[:2], 2 * cosines.shape[2])
        _call("difflut_fourier_coefficient_gradient", waves, wiring, None, grad, folded, features, outputs)
        cosines_grad, sines_grad = grad.new_empty(cosines.shape), grad.new_empty(cosines.shape)
        _run("fourier_unfold", folded, folded[..., 0].numel(), wiring.shape[1], cosines_grad, sines_grad)
    return x_grad, cosines_grad, sines_grad


def _folded(cosines: Tensor, sines: Tensor) -> Tensor:
    """The matrices of the series, (L, m, 2 * 2**n); see `fourier.cpp`."""
    folded = cosines.new_empty(*cosines.shape[:2], 2 * cosines.shape[2])
    sizes = cosines[..., 0].numel(), cosines.shape[2].bit_length() - 1
    _run("fourier_fold", cosines.contiguous(), sines.contiguous(), *sizes, folded)
    return folded


def select(x: Tensor, logits: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What every pin reads, (batch, P); x as bits or feature-major; and the inputs read, (P,)."""
    batch, features = x.shape
    chosen = _best_inputs(logits) if candidates is None else _best_candidates(logits, candidates, features)
    if not is_binary(x):
        rows = feature_major(x)
        return rows[chosen].t(), rows, chosen
    bits, y = _packed(x), x.new_empty(len(chosen), batch)
    _run("select_read", bits, chosen, batch, len(chosen), y)
    return y.t(), bits, chosen


_known_best: MutableMapping[Tensor, tuple[int, weakref.ref, Tensor]] = WeakTensorKeyDictionary()


def remember_best_inputs(logits: Tensor, chosen: Tensor) -> None:
    """Spares `select` a search, for as long as the logits stay in their memory as they are."""
    _known_best[logits] = logits._version, weakref.ref(logits.untyped_storage()), chosen


def _best_inputs(logits: Tensor) -> Tensor:
    version, storage, chosen = _known_best.get(logits, (None, None, None))
    if version is not None and version == logits._version and storage() is logits.untyped_storage():
        return chosen
    features, pins = logits.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    _run("select_inputs", logits.contiguous(), features, pins, chosen)
    return chosen


def _best_candidates(logits: Tensor, candidates: Tensor, features: int) -> Tensor:
    pins, choices = candidates.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    if _run("select_candidates", logits.contiguous(), candidates.contiguous(), choices, features, pins, chosen):
        raise unknown_input(candidates, features)
    return chosen


def select_logits_gradient(inputs: Tensor, candidates: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient of the logits, (features, P) or (P, K): `(2x - 1)^T g`."""
    batch, pins = grad.shape
    is_bits = inputs.dtype == torch.int64
    if candidates is not None:
        logits_grad = grad.new_empty(candidates.shape)
        both = (inputs, None) if is_bits else (None, inputs)
        place = candidates.contiguous(), candidates.shape[1], feature_major(grad), batch, pins, logits_grad
        _run("select_candidates_gradient", *both, *place)
        return logits_grad
    logits_grad = _recycled(len(inputs), pins)
    if is_bits:
        _run("select_inputs_gradient", inputs, feature_major(grad), batch, len(inputs), pins, logits_grad)
        return logits_grad
    return torch.mm(2 * inputs - 1, grad, out=logits_grad)


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, chosen: Tensor, tau: float, grad: Tensor, features: int
) -> Tensor:
    """The gradient of x, (batch, features): `g softmax(logits / tau)^T`, without the shares too small to count."""
    batch, pins = grad.shape
    x_grad = grad.new_empty(features, batch)
    among = (None, 0) if candidates is None else (candidates.contiguous(), candidates.shape[1])
    place = chosen, tau, feature_major(grad), batch, features, pins, x_grad
    _run("select_x_gradient", logits.contiguous(), *among, *place)
    return x_grad.t()


def adam(rows: Sequence[tuple[Tensor, ...]], scalars: tuple[float, ...]) -> None:
    """A step of Adam in place for (parameter, gradient, two moments, number of the step) in each row.

    The scalars are the rate, the two decays and epsilon.
    """
    tensors = [[*(tensor.data_ptr() for tensor in row), row[0].numel()] for row in rows]
    _run("adam", torch.tensor(tensors, dtype=torch.int64), len(rows), *scalars)
    for parameter, *_ in rows:
        increment_version(parameter)


def select_adam(
    bits: Tensor, grad: Tensor, logits: Tensor, moments: tuple[Tensor, ...], scalars: tuple[float, ...]
) -> None:
    """A step of Adam as in `adam`, with the gradient as `Factors`; `select` then knows the best inputs."""
    features, pins = logits.shape
    chosen = torch.empty(pins, dtype=torch.int64)
    _run("select_adam", bits, grad, grad.shape[1], features, pins, logits, *moments, chosen, *scalars)
    increment_version(logits)
    remember_best_inputs(logits, chosen)


def _run(function: str, *arguments: Tensor | float | None) -> int:
    """Calls a kernel; the tensors must be contiguous."""
    values = [argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments]
    return getattr(library(), f"difflut_{function}")(*values, torch.get_num_threads())


LARGE = 2**20

_idle: defaultdict[int, deque[Tensor]] = defaultdict(lambda: deque(maxlen=2))


def _recycled(rows: int, columns: int) -> Tensor:
    """Memory for a gradient; a large one's is used again once no tensor lies in it, for fresh pages cost too much."""
    size = rows * columns
    if size < LARGE:
        return torch.empty(rows, columns)
    owner = _idle[size].pop() if _idle[size] else torch.empty(size)
    memory = (ctypes.c_float * size).from_address(owner.data_ptr())
    weakref.finalize(memory, _idle[size].append, owner).atexit = False
    return torch.frombuffer(memory, dtype=torch.float32).view(rows, columns)


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


def feature_major(x: Tensor) -> Tensor:
    """x (batch, features) as contiguous (features, batch)."""
    if x.t().is_contiguous():
        return x.t()
    batch, features = x.shape
    rows = x.new_empty(features, batch)
    library().difflut_transpose(x.data_ptr(), *x.stride(), batch, features, rows.data_ptr(), torch.get_num_threads())
    return rows
