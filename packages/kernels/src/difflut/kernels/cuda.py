"""The operations in CUDA for float32 tensors: same names and signatures as in `reference`.

Tensors are handed to the kernels feature-major, as (features, batch). Nothing here waits for the device, and nothing is
summed in an order that depends on it: results are the same in every run.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels.bits import Bits
from difflut.kernels.launching import FILES as FILES
from difflut.kernels.launching import available as available
from difflut.kernels.launching import launch as launch
from difflut.kernels.launching import library as library
from difflut.kernels.launching import ticket as ticket
from difflut.kernels.wires import Wires, version_of, wires_of

name = "cuda"

FUSED_INPUTS = 3  # of nodes whose gradients are found by one kernel
SAMPLES = 128  # rows of packed bits and of addresses are padded to so many


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


def spread(sums: Tensor, features: int) -> Tensor:
    """Copies each of `sums` (batch, groups) to all features of its group: (batch, features)."""
    batch, groups = sums.shape
    out = sums.new_empty(features, batch)
    if out.numel():
        launch("spread", feature_major(sums), features // groups, out, batch, features)
    return out.t()


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
    """The first of the largest logits of each column, (pins,) int32.

    They are kept only where `Adam` has them up to date: torch's fused optimizers change logits unnoticed.
    """
    known = vars(logits).get("best_inputs")
    if known is None or known.version != version_of(logits):
        known = BestInputs.unknown(logits)
        known.find(logits)
        if "best_inputs" in vars(logits):
            logits.best_inputs = known
    best = torch.empty(logits.shape[1], dtype=torch.int32, device=logits.device)
    launch("read_keys", known.keys, len(best), best)
    return best


class BestInputs(NamedTuple):
    """The largest logit of each column, kept with the logits and brought up to date by `Adam`."""

    version: int  # of the logits: who else writes to them changes it
    keys: Tensor

    @classmethod
    def unknown(cls, logits: Tensor) -> "BestInputs":
        return cls(version_of(logits), logits.new_zeros(logits.shape[1], dtype=torch.int64))

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
    given = inputs, wires.wiring, wires.orders()[0], _aligned(table)
    launch("multilinear", *given, y, _parts(len(y), batch), batch, features, *_sizes(wiring, table))
    return y.t(), inputs


def multilinear_gradients(
    inputs: Tensor, wiring: Tensor, table: Tensor, grad: Tensor, features: int, needs_x: bool, needs_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""
    x_grad = torch.empty_like(inputs) if needs_x else None
    table_grad = torch.empty_like(table, memory_format=torch.contiguous_format) if needs_table else None
    wires, grad, table = wires_of(wiring, features), feature_major(grad), _aligned(table)
    sizes = grad.shape[1], features, *_sizes(wiring, table)
    given = inputs, wires.wiring
    if needs_x and needs_table and wiring.shape[1] <= FUSED_INPUTS:
        parts = _parts(max(features, len(grad)), grad.shape[1])
        scratch = None if parts == 1 else table.new_empty(parts, *table.shape)
        found = x_grad, table_grad, scratch, parts
        launch("multilinear_gradients", *given, *wires.orders(), *wires.readers(), table, grad, *found, *sizes)
    else:
        if needs_x:
            order = wires.orders()[1]
            launch("multilinear_input_gradient", *given, order, *wires.readers(), table, grad, x_grad, *sizes)
        if needs_table:
            launch("multilinear_table_gradient", *given, grad, table_grad, *sizes)
    return None if x_grad is None else x_grad.t(), table_grad


def _parts(rows: int, batch: int) -> int:
    """Into how many equal parts the batch is divided, so that a warp for each and row fills a GPU."""
    quads, rows = max(1, padded(batch) // SAMPLES), max(1, rows)
    most = max(8192 // rows, min(quads // 8, 32768 // rows), 1)
    length = -(-quads // min(most, 32))
    return -(-quads // length)


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """The Fourier series, (batch, L * m), and the waves of x, (2, features, batch)."""
    rows, (batch, features) = feature_major(x), x.shape
    waves = rows.new_empty(2, features, batch)
    launch("fourier_waves", rows, waves, rows.numel())
    y = cosines.new_empty(cosines.shape[0] * cosines.shape[1], batch)
    given = waves, wires_of(wiring, features).wiring, _aligned(cosines), _aligned(sines)
    launch("fourier", *given, y, batch, features, *_sizes(wiring, cosines))
    return y.t(), waves


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
    wires, grad = wires_of(wiring, features), feature_major(grad)
    sizes = grad.shape[1], features, *_sizes(wiring, cosines)
    if needs_x:
        x_grad = torch.empty_like(waves[0])
        coefficients = _aligned(cosines), _aligned(sines)
        launch("fourier_input_gradient", waves, wires.wiring, *wires.readers(), *coefficients, grad, x_grad, *sizes)
        x_grad = x_grad.t()
    if needs_coefficients:
        cosines_grad, sines_grad = grad.new_empty(cosines.shape), grad.new_empty(cosines.shape)
        launch("fourier_coefficient_gradient", waves, wires.wiring, grad, cosines_grad, sines_grad, *sizes)
    return x_grad, cosines_grad, sines_grad


def feature_major(x: Tensor) -> Tensor:
    """x (batch, features) as contiguous (features, batch)."""
    return x.t().contiguous()


def _aligned(table: Tensor) -> Tensor:
    table = table.contiguous()
    return table if table.data_ptr() % 16 == 0 else table.clone()


def _sizes(wiring: Tensor, table: Tensor) -> tuple[int, int, int]:
    return *wiring.shape, table.shape[1]
