"""The corners of the n-cube, where a table has its entries; address `a` has bit `l` = `(a >> l) & 1`.

Each matrix is made once for a device and type (`like`), so that a training step copies nothing from the host.
"""

from collections.abc import Callable
from functools import cache, wraps
from itertools import combinations

import torch
from torch import Tensor


def _made_once(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @cache
    def made(arguments: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return function(*arguments).to(device=device, dtype=dtype)

    @wraps(function)
    def matrix(*arguments: int, like: Tensor) -> Tensor:
        return made(arguments, like.dtype, like.device)

    return matrix


def _bits(n: int) -> Tensor:
    return (torch.arange(2**n)[:, None] >> torch.arange(n)) & 1


@_made_once
def corners(n: int) -> Tensor:
    """The bits of every address: `(2**n, n)`, least significant bit first."""
    return _bits(n)


@_made_once
def walsh_matrix(n: int) -> Tensor:
    """Walsh functions at the corners, `(-1)**|S & a|`: `(2**n, 2**n)`, symmetric, its square is `2**n` times one."""
    return 1 - 2 * ((_bits(n) @ _bits(n).T) % 2)


@_made_once
def hamming_distances(n: int) -> Tensor:
    """The number of bits in which two addresses differ: `(2**n, 2**n)`."""
    return (_bits(n)[:, None] != _bits(n)[None]).sum(-1)


@_made_once
def monomials(n: int, degree: int) -> Tensor:
    """Products of at most `degree` distinct inputs at every corner: `(2**n, number of monomials)`, constant first.

    On bits `x**2 = x`, so there are `sum_d C(n, d)` distinct ones.
    """
    bits = _bits(n)
    return torch.stack([bits[:, list(s)].prod(1) for d in range(degree + 1) for s in combinations(range(n), d)], dim=1)


def smoothing_matrix(weights: Tensor) -> Tensor:
    """The matrix that turns a table into one whose one-bit differences are weighted finite differences.

    For `S = table @ smoothing_matrix(weights)`, every address `a` and bit `l`: `S[a with l] - S[a without l] =
    sum_k (-1)**(1 - k_l) * weights[H(k, a outside l)] * table[k]`, with `H` the Hamming distance. This is the
    gradient by finite differences of DWN (arXiv 2410.11112), whose sum over addresses is thus done once a step
    instead of once a sample. The matrix is a convolution over the n-cube with weight `sum(weights[h:])` at distance
    `h`, because moving the address across bit `l` moves each `k` one step nearer or farther.

    Args:
        weights: `(n,)`, one for each Hamming distance 0 to n-1.
    """
    tail_sums = torch.cat([weights.flip(0).cumsum(0).flip(0), weights.new_zeros(1)])
    return tail_sums[hamming_distances(len(weights), like=weights).long()]


def dwn_smoothing(n: int) -> Tensor:
    """The `smoothing_matrix` of DWN: an entry at Hamming distance `H` has the weight `alpha * beta**H`.

    `alpha = 1/2 (3/4)**(n-1)` and `beta = 1/3` are those of the authors' code.
    """
    return smoothing_matrix(0.5 * 0.75 ** (n - 1) * (1 / 3) ** torch.arange(n))
