"""The operations in plain torch, for any dtype and device: what the compiled back ends must compute."""

import torch
from torch import Tensor

from difflut.kernels.validation import unknown_input

name = "reference"


def lookup(x: Tensor, wiring: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The look-up and the addresses taken, (batch, L * m) and (L, batch)."""
    _check_range(wiring, x.shape[1])
    addresses = _addresses(x, wiring)
    return _read(table, addresses), addresses


def lookup_input_gradient(addresses: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor, features: int) -> Tensor:
    """The gradient of x, (batch, features): differences of `slope` (L, m, 2**n) across each address bit."""
    grad = _by_node(grad, slope.shape[1])
    x_grad = grad.new_zeros(features, grad.shape[2])
    for j, inputs in enumerate(wiring.unbind(1)):
        bit = 1 << j
        high = slope.gather(2, _index(addresses | bit, slope.shape[1]))
        low = slope.gather(2, _index(addresses & ~bit, slope.shape[1]))
        x_grad.index_add_(0, inputs, ((high - low) * grad).sum(1))
    return x_grad.t()


def lookup_pin_gradient(addresses: Tensor, wiring: Tensor, slope: Tensor, grad: Tensor) -> Tensor:
    """The gradient of what each pin reads, (batch, L * n)."""
    pins = torch.arange(wiring.numel(), device=wiring.device).view_as(wiring)
    return lookup_input_gradient(addresses, pins, slope, grad, wiring.numel())


def lookup_table_gradient(addresses: Tensor, wiring: Tensor, grad: Tensor, outputs: int) -> Tensor:
    """The gradient of the table, (L, m, 2**n): the upstream gradient summed by address."""
    nodes, n = wiring.shape
    table_grad = grad.new_zeros(nodes, outputs, 2**n)
    return table_grad.scatter_add_(2, _index(addresses, outputs), _by_node(grad, outputs))


def multilinear(x: Tensor, wiring: Tensor, table: Tensor, hard: bool) -> tuple[Tensor, Tensor]:
    """The multilinear extension, or the look-up where `hard`, (batch, L * m), and x itself."""
    _check_range(wiring, x.shape[1])
    return _read(table, _addresses(x, wiring)) if hard else _extension(x, wiring, table), x


def multilinear_gradients(
    x: Tensor, wiring: Tensor, table: Tensor, grad: Tensor, features: int, needs_x: bool, needs_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x (batch, features) and table (L, m, 2**n), each where it is needed."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(needs_x)
        table = table.detach().requires_grad_(needs_table)
        y = _extension(x, wiring, table)
    needed = [tensor for tensor in (x, table) if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(y, needed, grad))
    return next(gradients) if needs_x else None, next(gradients) if needs_table else None


def fourier(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """The Fourier series, (batch, L * m), and x itself."""
    _check_range(wiring, x.shape[1])
    return _series(x, wiring, cosines, sines), x


def fourier_gradients(
    x: Tensor,
    wiring: Tensor,
    cosines: Tensor,
    sines: Tensor,
    grad: Tensor,
    features: int,
    needs_x: bool,
    needs_coefficients: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x (batch, features), cosines and sines (L, m, 2**n), where they are needed."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(needs_x)
        cosines, sines = (tensor.detach().requires_grad_(needs_coefficients) for tensor in (cosines, sines))
        y = _series(x, wiring, cosines, sines)
    needed = [tensor for tensor in (x, cosines, sines) if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(y, needed, grad))
    return tuple(next(gradients) if tensor.requires_grad else None for tensor in (x, cosines, sines))


def choose(x: Tensor, logits: Tensor, candidates: Tensor | None) -> tuple[Tensor, Tensor]:
    """x itself, and the input that every pin reads, (P,)."""
    if candidates is None:
        return x, logits.argmax(0)
    _check_range(candidates, x.shape[1])
    return x, candidates.gather(1, logits.argmax(1, keepdim=True))[:, 0]


def read(inputs: Tensor, chosen: Tensor, batch: int) -> Tensor:
    """What every pin reads of what `choose` returned, (batch, P)."""
    return inputs.t()[chosen].t()


def select_logits_gradient(x: Tensor, candidates: Tensor | None, grad: Tensor) -> Tensor:
    """The gradient of the logits, (features, P) or (P, K): `(2x - 1)^T g`."""
    signs = (2 * x - 1).t()
    if candidates is None:
        return signs @ grad
    signs, pins_first = signs.contiguous(), grad.t().contiguous()
    # One candidate of all pins at a time: (P, batch) is in memory, never (P, K, batch).
    return torch.stack([(signs[column] * pins_first).sum(1) for column in candidates.unbind(1)], 1)


def select_x_gradient(
    logits: Tensor, candidates: Tensor | None, chosen: Tensor, tau: float, grad: Tensor, features: int
) -> Tensor:
    """The gradient of x, (batch, features): `g softmax(logits / tau)^T`."""
    if candidates is None:
        return (torch.softmax(logits / tau, 0) @ grad.t()).t()
    share, pins_first = torch.softmax(logits / tau, 1), grad.t().contiguous()
    x_grad = grad.new_zeros(features, grad.shape[0])
    for k in range(candidates.shape[1]):
        x_grad.index_add_(0, candidates[:, k], pins_first * share[:, k : k + 1])
    return x_grad.t()


def _extension(x: Tensor, wiring: Tensor, table: Tensor) -> Tensor:
    """Halves the tables once for each input, the most significant address bit first."""
    inputs = x.t()
    values = table.unsqueeze(3)
    for j in reversed(range(wiring.shape[1])):
        low, high = values.chunk(2, 2)
        values = torch.lerp(low, high, inputs[wiring[:, j], None, None])
    return _by_batch(values.squeeze(2).expand(-1, -1, x.shape[0]))


def _series(x: Tensor, wiring: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Products of exp(i pi x): of the lower half of the inputs, and of the upper half for their sums."""
    units = torch.polar(torch.ones_like(x), torch.pi * x).t()[wiring]  # (L, n, batch)
    half = wiring.shape[1] // 2
    low, high = _waves(units[:, :half]), _waves(units[:, half:])
    coefficients = torch.complex(cosines, -sines).unflatten(-1, (high.shape[1], low.shape[1]))
    inner = (coefficients.flatten(1, 2) @ low).unflatten(1, (cosines.shape[1], -1))
    return _by_batch((inner * high[:, None]).sum(2).real)


def _waves(units: Tensor) -> Tensor:
    """The product over every subset of the inputs: (L, inputs, batch) to (L, 2**inputs, batch)."""
    waves = units.new_ones(len(units), 1, units.shape[2])
    for unit in units.unbind(1):
        waves = torch.cat([waves, waves * unit[:, None]], dim=1)
    return waves


def _addresses(x: Tensor, wiring: Tensor) -> Tensor:
    bits = (x.t() >= 0.5).to(torch.uint8)
    addresses = torch.zeros(wiring.shape[0], x.shape[0], dtype=torch.uint8, device=x.device)
    for j, inputs in enumerate(wiring.unbind(1)):
        addresses |= bits[inputs] << j
    return addresses


def _read(table: Tensor, addresses: Tensor) -> Tensor:
    return _by_batch(table.gather(2, _index(addresses, table.shape[1])))


def _index(addresses: Tensor, outputs: int) -> Tensor:
    return addresses.long().unsqueeze(1).expand(-1, outputs, -1)


def _by_batch(y: Tensor) -> Tensor:
    return y.reshape(y.shape[0] * y.shape[1], y.shape[2]).t()  # (L, m, batch) -> (batch, L * m)


def _by_node(grad: Tensor, outputs: int) -> Tensor:
    nodes = grad.shape[1] // outputs
    return grad.t().reshape(nodes, outputs, grad.shape[0])  # (batch, L * m) -> (L, m, batch)


def _check_range(wiring: Tensor, features: int) -> None:
    if wiring.is_cuda or wiring.numel() == 0:
        return
    low, high = wiring.aminmax()
    if low < 0 or high >= features:
        raise unknown_input(wiring, features)
