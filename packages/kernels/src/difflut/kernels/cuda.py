"""The operations in CUDA for float32 tensors: same names and signatures as in `reference`.

Tensors are handed to the kernels feature-major, as (features, batch). Nothing here waits for the device, and nothing is
summed in an order that depends on it: results are the same in every run.
"""

import ctypes
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from difflut.kernels import jit
from difflut.kernels.bits import Bits

name = "cuda"

FILES = ("layout.cu", "lookup.cu", "multilinear.cu", "select.cu", "step.cu")
FLAGS = ("-O3",)
SAMPLES = 128  # rows of packed bits and of addresses are padded to so many

_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
_FUNCTIONS = {
    "pack": "piiiip",
    "lookup": "ppppppiiiii",
    "group_sum": "ppidpiiii",
    "lookup_input_gradient": "pppppidpiiiii",
    "lookup_pin_gradient": "pppidipiiii",
    "lookup_table_gradient": "ppidpiiii",
    "lookup_chained_gradient": "pppiiiipppppidii",
    "multilinear": "ppppiiiii",
    "multilinear_input_gradient": "pppppppiiiii",
    "multilinear_table_gradient": "ppppiiiii",
    "argmax": "piip",
    "read_keys": "pip",
    "signs": "piip",
    "select_adam": "pppiipipiippdddp",
    "choose": "pippppiipp",
    "binarize": "ppppii",
    "cross_entropy": "ppppppii",
    "adam": "pippppddd",
}


class Wires:
    """A wiring as the kernels read it.

    Args:
        wiring: (L, n) int32, its entries below `features`
        features: That there are to read.
    """

    def __init__(self, wiring: Tensor, features: int) -> None:
        self.wiring, self.features = wiring, features
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
    version, wires = _wires.get(wiring, (None, None))
    if wires is None or wires.features != features or version != _version(wiring):
        fits = ((wiring >= 0) & (wiring < features)).all()
        torch._assert_async(fits, f"wiring must read inputs 0 to {features - 1}")
        wires = Wires(wiring.to(torch.int32).contiguous(), features)
        # What is made while a graph is captured has its values only when the graph runs.
        if not torch.cuda.is_current_stream_capturing():
            wires.readers()
            _wires[wiring] = _version(wiring), wires
    return wires


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


def pack(x: Tensor | Bits) -> Tensor:
    """The bits `x >= 1/2` of x (batch, features), by 32 samples: (features, 4 ceil(batch / 128)) int32."""
    if isinstance(x, Bits):
        return x.words
    batch, features = x.shape
    bits = torch.empty(features, padded(batch) // 32, dtype=torch.int32, device=x.device)
    if bits.numel():
        launch("pack", x, *x.stride(), batch, features, bits)
    return bits


def padded(batch: int) -> int:
    """The batch rounded up to whole quads of words."""
    return -(-batch // SAMPLES) * SAMPLES


def lookup(x: Tensor | Bits, wiring: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The look-up (batch, L * m), and the addresses taken as the kernels keep them, a byte each."""
    y = table.new_empty(table.shape[0] * table.shape[1], len(x))
    return y.t(), read_tables(pack(x), len(x), wires_of(wiring, x.shape[1]), table, y)


def read_tables(
    bits: Tensor, batch: int, wires: Wires, table: Tensor, y: Tensor | None = None, y_bits: Tensor | None = None
) -> Tensor:
    """The look-up from packed bits into `y` (L * m, batch) and, packed, `y_bits`; returns the addresses taken."""
    codes = torch.empty(len(wires.wiring), padded(batch) // 4, dtype=torch.int32, device=bits.device)
    sizes = batch, len(bits), *_sizes(wires.wiring, table)
    launch("lookup", bits, wires.wiring, _aligned(table), codes, y, y_bits, *sizes)
    return codes


def group_sum(codes: Tensor, table: Tensor, tau: float, sums: Tensor) -> None:
    """Fills `sums` (groups, batch) with the entries that each group's tables gave at their addresses, over tau."""
    groups, batch = sums.shape
    nodes, m, entries = table.shape
    launch(
        "group_sum",
        codes,
        table.contiguous(),
        nodes * m // groups,
        tau,
        sums,
        batch,
        nodes,
        entries.bit_length() - 1,
        m,
    )


class Upstream(NamedTuple):
    """The gradient of a bank's outputs; where it is a group's, each output of the group has the same."""

    grad: Tensor  # (rows or groups, batch), contiguous
    shape: tuple[int, int, int]  # of the bank's table
    scale: float = 1.0  # of the gradient

    @property
    def group(self) -> int:
        return self.shape[0] * self.shape[1] // max(1, len(self.grad))


def input_gradient(codes: Tensor, wiring: Tensor, slope: Tensor, upstream: Upstream, features: int) -> Tensor:
    """The gradient of a bank's inputs, (features, batch)."""
    grad, batch = upstream.grad, upstream.grad.shape[1]
    x_grad = grad.new_empty(features, batch)
    inputs = codes, *wires_of(wiring, features).readers(), _aligned(slope), grad
    launch(
        "lookup_input_gradient",
        *inputs,
        upstream.group,
        upstream.scale,
        x_grad,
        batch,
        features,
        *_sizes(wiring, slope),
    )
    return x_grad


def table_gradient(codes: Tensor, n: int, upstream: Upstream) -> Tensor:
    """The gradient of a bank's tables, (L, m, 2**n)."""
    (nodes, m, _), batch = upstream.shape, upstream.grad.shape[1]
    table_grad = upstream.grad.new_empty(upstream.shape)
    launch(
        "lookup_table_gradient", codes, upstream.grad, upstream.group, upstream.scale, table_grad, batch, nodes, n, m
    )
    return table_grad


def pin_gradient(codes: Tensor, slope: Tensor, upstream: Upstream, split: bool = False) -> Tensor:
    """The gradient of every pin, (L * n, padded batch), or as pairs of bfloat16, (L * n, 2 * padded batch)."""
    (nodes, m, entries), batch = upstream.shape, upstream.grad.shape[1]
    n, width = entries.bit_length() - 1, padded(batch)
    out = slope.new_empty(nodes * n, 2 * width if split else width, dtype=torch.bfloat16 if split else None)
    inputs = codes, _aligned(slope), upstream.grad, upstream.group, upstream.scale, int(split), out
    launch("lookup_pin_gradient", *inputs, batch, nodes, n, m)
    return out


def signs(bits: Tensor) -> Tensor:
    """1 where a bit is set and -1 elsewhere, twice side by side: (features, 2 * padded batch) bfloat16."""
    features, words = bits.shape
    out = torch.empty(features, 64 * words, dtype=torch.bfloat16, device=bits.device)
    launch("signs", bits, features, words, out)
    return out


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each column, (pins,) int32."""
    known = vars(logits).get("best_inputs")
    if known is None or known.version != _version(logits):
        known = logits.best_inputs = BestInputs(_version(logits), logits.new_zeros(logits.shape[1], dtype=torch.int64))
        known.find(logits)
    best = torch.empty(logits.shape[1], dtype=torch.int32, device=logits.device)
    launch("read_keys", known.keys, len(best), best)
    return best


class BestInputs(NamedTuple):
    """The largest logit of each column, kept with the logits and brought up to date by `Adam`."""

    version: int  # of the logits: who else writes to them changes it
    keys: Tensor

    def find(self, logits: Tensor) -> None:
        """Fills the keys, which must be 0."""
        launch("argmax", logits, *logits.shape, self.keys)


def chained_gradient(
    codes: Tensor,
    wiring: Tensor,
    shape: tuple[int, int, int],
    next_codes: Tensor,
    next_wiring: Tensor,
    next_slope: Tensor,
    upstream: Upstream,
    keep: bool,
) -> tuple[Tensor, Upstream | None]:
    """The table gradient of a bank from that of the next one's outputs, and the one between the two if `keep`."""
    (nodes, m, _), n, batch = shape, wiring.shape[1], upstream.grad.shape[1]
    if next_wiring.shape[1] != n:
        between = Upstream(input_gradient(next_codes, next_wiring, next_slope, upstream, nodes * m), shape)
        return table_gradient(codes, n, between), between
    table_grad = upstream.grad.new_empty(shape)
    between = Upstream(upstream.grad.new_empty(nodes * m, batch), shape) if keep else None
    readers = wires_of(next_wiring, nodes * m).readers()
    launch(
        "lookup_chained_gradient",
        *(codes, table_grad, between and between.grad, batch, nodes, n, m),
        *(
            next_codes,
            *readers,
            _aligned(next_slope),
            upstream.grad,
            upstream.group,
            upstream.scale,
            *upstream.shape[:2],
        ),
    )
    return table_grad, between


def lookup_input_gradient(codes: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor, features: int) -> Tensor:
    """The gradient of x, (batch, features): differences of `slope` (L, m, 2**n) across each address bit."""
    return input_gradient(codes, wiring, slope, Upstream(feature_major(grad), slope.shape), features).t()


def lookup_table_gradient(codes: Tensor, wiring: Tensor, grad: Tensor, outputs: int) -> Tensor:
    """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""
    nodes, n = wiring.shape
    return table_gradient(codes, n, Upstream(feature_major(grad), (nodes, outputs, 2**n)))


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
