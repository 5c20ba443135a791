"""The operations in CUDA for float32 tensors: same names and signatures as in `reference`.

Tensors are handed to the kernels feature-major, as (features, batch). Nothing here waits for the device, and nothing is
summed in an order that depends on it: results are the same in every run.
"""

import ctypes
from functools import cache

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from difflut.kernels import jit

name = "cuda"

FILES = ("layout.cu", "lookup.cu", "multilinear.cu")
FLAGS = ("-O3",)
SAMPLES = 128  # rows of packed bits are padded to so many

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_FUNCTIONS = {
    "pack": "pssssp",
    "lookup": "pppppsssss",
    "lookup_input_gradient": "ppppppspsssss",
    "lookup_table_gradient": "pppspsssss",
    "multilinear": "ppppsssss",
    "multilinear_input_gradient": "pppppppsssss",
    "multilinear_table_gradient": "ppppsssss",
}


class Wires:
    """A wiring as the kernels read it."""

    def __init__(self, wiring: Tensor, features: int) -> None:
        torch._assert_async(((wiring >= 0) & (wiring < features)).all(), f"wiring must read inputs 0 to {features - 1}")
        self.features = features
        self.version = _version(wiring)
        self.wiring = wiring.to(torch.int32).contiguous()
        self._readers: tuple[Tensor, Tensor] | None = None

    def readers(self) -> tuple[Tensor, Tensor]:
        """For each feature the pins that read it, in order: (features + 1,) where they begin, and (L * n,) pins."""
        if self._readers is None:
            by_feature, pins = self.wiring.flatten().sort(stable=True)
            bounds = torch.arange(self.features + 1, dtype=torch.int32, device=pins.device)
            self._readers = torch.searchsorted(by_feature, bounds, out_int32=True), pins.to(torch.int32)
        return self._readers


_wires = WeakTensorKeyDictionary()


def wires_of(wiring: Tensor, features: int) -> Wires:
    """The wiring prepared for the kernels, once for as long as its entries stay."""
    known = _wires.get(wiring)
    if known is None or known.features != features or known.version != _version(wiring):
        known = Wires(wiring, features)
        known.readers()
        # What is made while a graph is captured has its values only when the graph runs.
        if not torch.cuda.is_current_stream_capturing():
            _wires[wiring] = known
    return known


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def available() -> bool:
    """Whether the kernels are there; the first call compiles them."""
    return library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load(name, FILES, FLAGS)
    if loaded is not None:
        for function, arguments in _FUNCTIONS.items():
            types = [_POINTER if kind == "p" else _SIZE for kind in arguments]
            getattr(loaded, f"difflut_cuda_{function}").argtypes = [*types, _POINTER]
    return loaded


def launch(function: str, *arguments: Tensor | int | None) -> None:
    """Calls a kernel on the current stream of the device on which its tensors are.

    Raises:
        RuntimeError: It could not be launched.
    """
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    values = [argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments]
    with torch.cuda.device(device):
        code = getattr(library(), f"difflut_cuda_{function}")(*values, torch.cuda.current_stream().cuda_stream)
    if code:
        raise RuntimeError(f"the CUDA kernel {function} could not be launched: CUDA error {code}")


def pack(x: Tensor) -> Tensor:
    """The bits `x >= 1/2` of x (batch, features), by 32 samples: (features, 4 ceil(batch / 128)) int32."""
    batch, features = x.shape
    bits = torch.empty(features, 4 * (-(-batch // SAMPLES)), dtype=torch.int32, device=x.device)
    if bits.numel():
        launch("pack", x, *x.stride(), batch, features, bits)
    return bits


def lookup(x: Tensor, wiring: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The look-up (batch, L * m), and the packed bits of x, (features, words)."""
    bits, (batch, features) = pack(x), x.shape
    y = table.new_empty(table.shape[0] * table.shape[1], batch)
    wires = wires_of(wiring, features)
    launch("lookup", bits, wires.wiring, _aligned(table), y, None, batch, features, *_sizes(wiring, table))
    return y.t(), bits


def lookup_input_gradient(bits: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor, features: int) -> Tensor:
    """The gradient of x, (batch, features): differences of `slope` (L, m, 2**n) across each address bit."""
    wires, batch = wires_of(wiring, features), len(grad)
    x_grad = grad.new_empty(features, batch)
    inputs = bits, wires.wiring, *wires.readers(), _aligned(slope), feature_major(grad)
    launch("lookup_input_gradient", *inputs, 1, x_grad, batch, features, *_sizes(wiring, slope))
    return x_grad.t()


def lookup_table_gradient(bits: Tensor, wiring: Tensor, grad: Tensor, outputs: int) -> Tensor:
    """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""
    wires, (nodes, n) = wires_of(wiring, len(bits)), wiring.shape
    table_grad = grad.new_empty(nodes, outputs, 2**n)
    sizes = len(grad), len(bits), nodes, n, outputs
    launch("lookup_table_gradient", bits, wires.wiring, feature_major(grad), 1, table_grad, *sizes)
    return table_grad


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool) -> tuple[Tensor, Tensor]:
    """The multilinear extension, or the look-up where `hard`, (batch, L * m), and x stored feature-major."""
    inputs, (batch, features) = feature_major(x), x.shape
    if hard:
        return lookup(x, wiring, table)[0], inputs
    y = table.new_empty(table.shape[0] * table.shape[1], batch)
    wires = wires_of(wiring, features)
    launch("multilinear", inputs, wires.wiring, _aligned(table), y, batch, features, *_sizes(wiring, table))
    return y.t(), inputs


def multilinear_gradients(
    inputs: Tensor, wiring: Tensor, table: Tensor, grad: Tensor, features: int, needs_x: bool, needs_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""
    x_grad = table_grad = None
    wires, grad = wires_of(wiring, features), feature_major(grad)
    sizes = grad.shape[1], features, *_sizes(wiring, table)
    if needs_x:
        x_grad = torch.empty_like(inputs)
        readers = wires.readers()
        launch("multilinear_input_gradient", inputs, wires.wiring, *readers, _aligned(table), grad, x_grad, *sizes)
        x_grad = x_grad.t()
    if needs_table:
        table_grad = torch.empty_like(table, memory_format=torch.contiguous_format)
        launch("multilinear_table_gradient", inputs, wires.wiring, grad, table_grad, *sizes)
    return x_grad, table_grad


def feature_major(x: Tensor) -> Tensor:
    """x (batch, features) as contiguous (features, batch)."""
    return x.t().contiguous()


def _aligned(table: Tensor) -> Tensor:
    table = table.contiguous()
    return table if table.data_ptr() % 16 == 0 else table.clone()


def _sizes(wiring: Tensor, table: Tensor) -> tuple[int, int, int]:
    return *wiring.shape, table.shape[1]
