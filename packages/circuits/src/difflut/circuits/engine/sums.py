"""Weighted sums of pixels, of many samples at a time, on the device that compares them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from difflut.circuits.circuit.sums import MOST, WeightedSums

ROOM = 2**26  # values that are there at a time: 256 MiB


class DeviceSums:
    """What `WeightedSums` gives, the same numbers, as tensors on a device."""

    def __init__(self, sums: WeightedSums, device: str) -> None:
        self._inputs, self._values = sums.inputs, sums.inputs + sums.num_sums
        self._features = torch.from_numpy(sums.features.astype(np.int64)).to(device)
        # A level's sums, and term by term what they add; a missing term is any value times 0.
        self._levels = [
            [torch.from_numpy(array).to(device) for array in (
                sums.inputs + rows,
                sums.sources[rows].T.clip(0).astype(np.int64, order="C"),
                (sums.weights[rows] * (sums.sources[rows] >= 0)).T[..., None].astype("float32"),
            )]
            for rows in sums.levels
        ]  # fmt: skip

    def parts(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """What is compared of samples `(batch, pixels)`, some rows at a time: these, and `(rows, features)` floats."""
        step = max(ROOM // self._values, 1)
        for start in range(0, len(x), step):
            rows = slice(start, min(start + step, len(x)))
            yield rows, self._compared(x[rows])

    def _compared(self, x: Tensor) -> Tensor:
        values = torch.empty(self._values, len(x), device=x.device)
        values[: self._inputs] = x.float().nan_to_num(nan=0).ceil().clamp(0, MOST).t()
        for sums, sources, weights in self._levels:
            # Whole numbers below 2**24, which floats hold in any order of adding.
            total = torch.zeros(len(sums), len(x), device=x.device)
            for source, weight in zip(sources, weights, strict=True):
                total.addcmul_(values[source], weight)
            values[sums] = total
        return values[self._features].t().contiguous()
