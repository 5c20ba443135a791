"""The operations in plain torch, for any dtype and device: what the compiled back ends must compute.

A node at all its placements is treated as one that sees P times the batch: columns are (placement, sample).
"""

import torch
from torch import Tensor

from difflut.kernels.contract import Kept, Selected
from difflut.kernels.placements import Placements
from difflut.kernels.validation import unknown_input

name = "reference"


def lookup(x: Tensor, wiring: Tensor, table: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.lookup`; the addresses are (L, P * batch), uint8."""
    _check_range(wiring, placements)
    addresses = _addresses(x, wiring, placements)
    return _read(table, addresses, placements, len(x)), Kept(addresses, len(x), "addresses")


def lookup_input_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_input_gradient`."""
    x_grad = _SumByRow(grad, placements)
    for j, pin_grad in enumerate(_pin_gradients(kept, slope, grad, wiring.shape[1], placements)):
        x_grad.add(wiring[:, j], pin_grad)
    return x_grad.total()


def lookup_pin_gradient(kept: Kept, wiring: Tensor, slope: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.lookup_pin_gradient`."""
    pins = torch.stack(_pin_gradients(kept, slope, grad, wiring.shape[1], placements), 1)
    return _by_batch(pins, placements, len(grad))


def lookup_table_gradient(kept: Kept, wiring: Tensor, grad: Tensor, outputs: int, placements: Placements) -> Tensor:
    """See `Backend.lookup_table_gradient`."""
    nodes, n = wiring.shape
    table_grad = grad.new_zeros(nodes, outputs, 2**n)
    return table_grad.scatter_add_(2, _index(kept.data, outputs), _by_node(grad, nodes, outputs, placements))


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.multilinear`; x itself is kept."""
    _check_range(wiring, placements)
    if hard:
        y = _read(table, _addresses(x, wiring, placements), placements, len(x))
    else:
        y = _extension(x, wiring, table, placements)
    return y, Kept(x, len(x), "values")


def multilinear_gradients(
    kept: Kept,
    wiring: Tensor,
    table: Tensor,
    grad: Tensor,
    placements: Placements,
    needs_x: bool,
    needs_table: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """See `Backend.multilinear_gradients`."""
    with torch.enable_grad():
        x = kept.data.detach().requires_grad_(needs_x)
        table = table.detach().requires_grad_(needs_table)
        y = _extension(x, wiring, table, placements)
    needed = [tensor for tensor in (x, table) if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(y, needed, grad))
    return next(gradients) if needs_x else None, next(gradients) if needs_table else None


def maximum(x: Tensor, wiring: Tensor, least: bool, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.maximum`; which inputs are the largest is kept as addresses are, (L, P * batch), uint8."""
    _check_range(wiring, placements)
    rows = _padded(x, placements)
    inputs = torch.stack([_inputs(rows, column, placements) for column in wiring.unbind(1)])
    y = inputs.amin(0) if least else inputs.amax(0)
    chosen = torch.zeros_like(y, dtype=torch.uint8)
    for j, column in enumerate(inputs):
        chosen |= (column == y).to(torch.uint8) << j
    return _by_batch(y.unsqueeze(1), placements, len(x)), Kept(chosen, len(x), "addresses")


def maximum_gradient(kept: Kept, wiring: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.maximum_gradient`."""
    nodes, n = wiring.shape
    chosen = torch.stack([kept.data >> j & 1 for j in range(n)])
    shares = _by_node(grad, nodes, 1, placements)[:, 0] / chosen.sum(0)
    x_grad = _SumByRow(grad, placements)
    for j in range(n):
        x_grad.add(wiring[:, j], shares * chosen[j])
    return x_grad.total()


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor, placements: Placements) -> tuple[Tensor, Kept]:
    """See `Backend.fourier`; x itself is kept."""
    _check_range(wiring, placements)
    return _series(x, wiring, cosines, sines, placements), Kept(x, len(x), "values")


def fourier_gradients(
    kept: Kept,
    wiring: Tensor,
    cosines: Tensor,
    sines: Tensor,
    grad: Tensor,
    placements: Placements,
    needs_x: bool,
    needs_coefficients: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """See `Backend.fourier_gradients`."""
    with torch.enable_grad():
        x = kept.data.detach().requires_grad_(needs_x)
        cosines, sines = (tensor.detach().requires_grad_(needs_coefficients) for tensor in (cosines, sines))
        y = _series(x, wiring, cosines, sines, placements)
    needed = [tensor for tensor in (x, cosines, sines) if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(y, needed, grad))
    x_grad, cosine_grad, sine_grad = (
        next(gradients) if tensor.requires_grad else None for tensor in (x, cosines, sines)
    )
    return x_grad, cosine_grad, sine_grad


def select(x: Tensor, logits: Tensor, candidates: Tensor | None, placements: Placements) -> Selected:
    """See `Backend.select`; x itself is kept."""
    if candidates is None:
        return Selected(Kept(x, len(x), "values"), logits.argmax(0))
    _check_range(candidates, placements)
    return Selected(Kept(x, len(x), "values"), candidates.gather(1, logits.argmax(1, keepdim=True))[:, 0])


def read(selected: Selected, placements: Placements) -> Tensor:
    """See `Backend.read`."""
    inputs = _inputs(_padded(selected.inputs.data, placements), selected.pins, placements)
    return _by_batch(inputs.unsqueeze(1), placements, selected.inputs.batch)


def select_logits_gradient(inputs: Kept, candidates: Tensor | None, grad: Tensor, placements: Placements) -> Tensor:
    """See `Backend.select_logits_gradient`."""
    rows, pins = _padded(inputs.data, placements), grad.shape[1] // placements.count
    pin_grad = _by_node(grad, pins, 1, placements)[:, 0]
    if candidates is None:
        window = torch.arange(placements.window, device=grad.device)
        return (2 * _inputs(rows, window, placements) - 1) @ pin_grad.t()
    # One candidate of every pin at a time, so that memory holds (pins, P * batch) and never K times that.
    return torch.stack(
        [((2 * _inputs(rows, column, placements) - 1) * pin_grad).sum(1) for column in candidates.unbind(1)], 1
    )


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, selected: Selected, tau: float, grad: Tensor, placements: Placements
) -> Tensor:
    """See `Backend.select_x_gradient`."""
    pin_grad = _by_node(grad, len(selected.pins), 1, placements)[:, 0]
    x_grad = _SumByRow(grad, placements)
    if candidates is None:
        window = torch.arange(placements.window, device=grad.device)
        x_grad.add(window, torch.softmax(logits / tau, 0) @ pin_grad)
        return x_grad.total()
    share = torch.softmax(logits / tau, 1)
    for k, column in enumerate(candidates.unbind(1)):
        x_grad.add(column, pin_grad * share[:, k : k + 1])
    return x_grad.total()


def learned_gradients(
    logits: Tensor | None,
    candidates: Tensor | None,
    selected: Selected,
    tau: float,
    kept: Kept,
    slope: Tensor,
    grad: Tensor,
    placements: Placements,
    needs_x: bool,
    needs_logits: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """See `Backend.learned_gradients`."""
    x_grad = logits_grad = None
    find = _extension_pin_gradient if kept.form == "values" else lookup_pin_gradient
    pin_grad = find(kept, selected.pins.view(len(slope), -1), slope, grad, placements)
    if needs_x:
        assert logits is not None
        x_grad = select_x_gradient(logits, candidates, selected, tau, pin_grad, placements)
    if needs_logits:
        logits_grad = select_logits_gradient(selected.inputs, candidates, pin_grad, placements)
    return x_grad, logits_grad


def _extension(x: Tensor, wiring: Tensor, table: Tensor, placements: Placements) -> Tensor:
    rows = _padded(x, placements)
    return _by_batch(
        _halved(table, [_inputs(rows, column, placements) for column in wiring.unbind(1)]), placements, len(x)
    )


def _halved(table: Tensor, inputs: list[Tensor]) -> Tensor:
    """Halves the tables once for each input (L, P * batch), the most significant address bit first."""
    values = table.unsqueeze(3)
    for column in reversed(inputs):
        low, high = values.chunk(2, 2)
        values = torch.lerp(low, high, column[:, None, None])
    return values.squeeze(2).expand(-1, -1, inputs[0].shape[1])


def _extension_pin_gradient(kept: Kept, wiring: Tensor, table: Tensor, grad: Tensor, placements: Placements) -> Tensor:
    """What `lookup_pin_gradient` is for a look-up, for the extension."""
    rows, (nodes, outputs, _) = _padded(kept.data.detach(), placements), table.shape
    with torch.enable_grad():
        inputs = [_inputs(rows, column, placements).requires_grad_() for column in wiring.unbind(1)]
        y = _halved(table.detach(), inputs)
    pins = torch.autograd.grad(y, inputs, _by_node(grad, nodes, outputs, placements))
    return _by_batch(torch.stack(pins, 1), placements, kept.batch)


def _series(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor, placements: Placements) -> Tensor:
    """Products of exp(i pi x): of the lower half of the inputs, and of the upper half for their sums.

    It computes in float32 or wider, since torch cannot compute with complex numbers of 16 bits.
    """
    dtype = cosines.dtype
    x, cosines, sines = (tensor.to(torch.promote_types(dtype, torch.float32)) for tensor in (x, cosines, sines))
    rows = _padded(x, placements)
    waves = torch.polar(torch.ones_like(rows), torch.pi * rows)
    units = torch.stack([_inputs(waves, inputs, placements) for inputs in wiring.unbind(1)], 1)  # (L, n, P * batch)
    half = wiring.shape[1] // 2
    low, high = _waves(units[:, :half]), _waves(units[:, half:])
    coefficients = torch.complex(cosines, -sines).unflatten(-1, (high.shape[1], low.shape[1]))
    inner = (coefficients.flatten(1, 2) @ low).unflatten(1, (cosines.shape[1], -1))
    return _by_batch((inner * high[:, None]).sum(2).real.to(dtype), placements, len(x))


def _waves(units: Tensor) -> Tensor:
    """The product over every subset of the inputs: (L, inputs, columns) to (L, 2**inputs, columns)."""
    waves = units.new_ones(len(units), 1, units.shape[2])
    for unit in units.unbind(1):
        waves = torch.cat([waves, waves * unit[:, None]], dim=1)
    return waves


def _addresses(x: Tensor, wiring: Tensor, placements: Placements) -> Tensor:
    bits = (_padded(x, placements) >= 0.5).to(torch.uint8)
    addresses = torch.zeros(len(wiring), placements.count * len(x), dtype=torch.uint8, device=x.device)
    for j, inputs in enumerate(wiring.unbind(1)):
        addresses |= _inputs(bits, inputs, placements) << j
    return addresses


def _pin_gradients(kept: Kept, slope: Tensor, grad: Tensor, n: int, placements: Placements) -> list[Tensor]:
    """What input j of every node passes back, (L, P * batch), for each j."""
    nodes, outputs, _ = slope.shape
    upstream, gradients = _by_node(grad, nodes, outputs, placements), []
    for j in range(n):
        high = slope.gather(2, _index(kept.data | 1 << j, outputs))
        low = slope.gather(2, _index(kept.data & ~(1 << j), outputs))
        gradients.append(((high - low) * upstream).sum(1))
    return gradients


def _padded(x: Tensor, placements: Placements) -> Tensor:
    """The rows of x (batch, features), and one of zeros at the end where there is padding."""
    rows = x.t()
    return torch.cat([rows, rows.new_zeros(1, len(x))]) if any(placements.padding) else rows


def _inputs(rows: Tensor, positions: Tensor, placements: Placements) -> Tensor:
    """What is read at positions (L,) of every window, (L, P * batch); row -1 is that of zeros."""
    return rows[placements.rows(positions)].flatten(1)


class _SumByRow:
    """A gradient of x to which pins add what they pass back."""

    def __init__(self, grad: Tensor, placements: Placements) -> None:
        self.placements = placements
        self.rows = grad.new_zeros(placements.features + 1, len(grad))  # the last row is the padding's

    def add(self, positions: Tensor, pin_grad: Tensor) -> None:
        rows = self.placements.rows(positions).flatten() % len(self.rows)
        self.rows.index_add_(0, rows, pin_grad.reshape(len(rows), self.rows.shape[1]))

    def total(self) -> Tensor:
        """(batch, features)"""
        return self.rows[:-1].t()


def _read(table: Tensor, addresses: Tensor, placements: Placements, batch: int) -> Tensor:
    return _by_batch(table.gather(2, _index(addresses, table.shape[1])), placements, batch)


def _index(addresses: Tensor, outputs: int) -> Tensor:
    return addresses.long().unsqueeze(1).expand(-1, outputs, -1)


def _by_batch(y: Tensor, placements: Placements, batch: int) -> Tensor:
    """(L, m, P * batch) to (batch, L * m * P)."""
    return y.reshape(y.shape[0] * y.shape[1] * placements.count, batch).t()


def _by_node(grad: Tensor, nodes: int, outputs: int, placements: Placements) -> Tensor:
    """(batch, L * m * P) to (L, m, P * batch)."""
    return grad.t().reshape(nodes, outputs, placements.count * len(grad))


def _check_range(wiring: Tensor, placements: Placements) -> None:
    if wiring.is_cuda or wiring.numel() == 0:
        return
    low, high = wiring.aminmax()
    if low < 0 or high >= placements.window:
        raise unknown_input(wiring, placements)
