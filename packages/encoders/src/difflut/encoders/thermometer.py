"""Thermometer codes: bit `i` says whether the input exceeds threshold `i`, so level 3 of 5 bits is 11100."""

from typing import Any

import torch
from torch import Tensor

from difflut.encoders.data import Data
from difflut.encoders.encoder import Encoder, FeatureWise, exceeds
from difflut.registry import register_encoder


@register_encoder("thermometer")
class Thermometer(Encoder):
    """Thresholds evenly spaced between the smallest and the largest value, both excluded."""

    def make_codebook(self) -> Tensor:
        return torch.ones(self.num_bits + 1, self.num_bits, dtype=torch.uint8).tril(-1)

    def _encode(self, x: Tensor, thresholds: Tensor) -> Tensor:
        return exceeds(x.unsqueeze(-1), thresholds)


@register_encoder("gaussian_thermometer")
class GaussianThermometer(Thermometer):
    """Thresholds that split a normal distribution of the data's mean and standard deviation into equal parts.

    The standard deviation is that of the population (divided by `n`), so one row is enough.
    """

    def make_thresholds(self, data: Data) -> Tensor:
        mean, std = data.moments()
        return mean.unsqueeze(1) + std.unsqueeze(1) * torch.special.ndtri(self.fractions())


@register_encoder("distributive_thermometer")
class DistributiveThermometer(Thermometer):
    """Thresholds at the quantiles `(i + 1) / (num_bits + 1)`, so that all levels are equally frequent.

    The encoding of DWN (https://arxiv.org/abs/2410.11112). Between two data values quantiles are interpolated linearly.
    Where all are the largest value of a feature, and so tell nothing apart, they are the largest one below it.
    """

    def make_thresholds(self, data: Data) -> Tensor:
        return data.quantiles(self.fractions(), below_largest=True)


@register_encoder("midpoint_thermometer")
class MidpointThermometer(Thermometer):
    """Thresholds halfway between neighbouring values of the data, as decision trees have them.

    A feature with few values has a threshold between any two; those it does not need repeat the highest one. Where
    there are more midpoints than `num_bits` they are those next to the quantiles `(i + 1) / (num_bits + 1)`.
    """

    def make_thresholds(self, data: Data) -> Tensor:
        return data.midpoints(self.num_bits)


@register_encoder("logarithmic")
class Logarithmic(Thermometer):
    """Thresholds geometrically spaced between minimum and maximum, dense near the minimum.

    With `s` evenly spaced in (0, 1) they lie at the fraction `(base**s - 1) / (base - 1)` of the range.

    Args:
        base: Spacing at the maximum, as a multiple of that at the minimum. The default, one decade, puts
            the middle threshold at 24 % of the range; near 1 this is the `Thermometer`.
    """

    def __init__(
        self,
        num_bits: int = 8,
        flatten: bool = True,
        feature_wise: FeatureWise = True,
        base: float = 10.0,
        **options: Any,
    ) -> None:
        if base <= 1:
            raise ValueError(f"base={base} must be greater than 1")
        super().__init__(num_bits, flatten, feature_wise, **options)
        self.base = base

    def fractions(self) -> Tensor:
        return (self.base ** super().fractions() - 1) / (self.base - 1)
