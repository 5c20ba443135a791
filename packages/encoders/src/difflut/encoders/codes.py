"""Codes of levels that are evenly spaced between the smallest and the largest value."""

import torch
from torch import Tensor

from difflut.encoders.data import Data
from difflut.encoders.encoder import Encoder
from difflut.registry import register_encoder

MAX_BITS = 12  # a limit of 4095 thresholds for each feature, and as many columns of hardware


def digits(numbers: Tensor, num_bits: int) -> Tensor:
    """Binary digits, least significant first: integers `(n,)` to uint8 `(n, num_bits)`."""
    return (numbers.unsqueeze(1) >> torch.arange(num_bits) & 1).to(torch.uint8)


@register_encoder("binary")
class Binary(Encoder):
    """The binary digits of the level, least significant first."""

    max_bits = MAX_BITS

    def make_codebook(self) -> Tensor:
        return digits(torch.arange(2**self.num_bits), self.num_bits)


@register_encoder("gray")
class Gray(Encoder):
    """The reflected Gray code of the level, least significant digit first: neighbouring levels differ in one bit."""

    max_bits = MAX_BITS

    def make_codebook(self) -> Tensor:
        level = torch.arange(2**self.num_bits)
        return digits(level ^ level >> 1, self.num_bits)


@register_encoder("onehot")
class OneHot(Encoder):
    """One bit for each of `num_bits` levels, of which exactly one is set."""

    def make_codebook(self) -> Tensor:
        return torch.eye(self.num_bits, dtype=torch.uint8)


@register_encoder("sign_magnitude")
class SignMagnitude(Encoder):
    """A sign bit, 1 where `x <= 0`, then the binary digits of the magnitude, least significant first.

    The levels divide `[-m, m]` evenly, where `m` is the largest magnitude; the middle threshold is 0. A feature whose
    only value is `c` has `m = |c|`, so it lies in the outermost level of its sign, and 0 in that of magnitude 0.
    """

    max_bits = MAX_BITS

    def make_codebook(self) -> Tensor:
        level, half = torch.arange(2**self.num_bits), 2 ** (self.num_bits - 1)
        magnitude = torch.where(level < half, half - 1 - level, level - half)
        sign = (level < half).to(torch.uint8).unsqueeze(1)
        return torch.cat([sign, digits(magnitude, self.num_bits - 1)], dim=1)

    def make_thresholds(self, data: Data) -> Tensor:
        low, high = data.range()
        return torch.maximum(-low, high).unsqueeze(1) * (2 * self.fractions() - 1)
