"""Detectors that are learned from images without labels: what whitened patches of them have in common."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from difflut.encoders.data import image_shape
from difflut.encoders.detectors import Kernel, as_whole
from difflut.registry import checked_constructor, register_detector

CONTRAST = 10.0  # is added to the deviation of a patch, so that noise in flat ones stays small; in units of a pixel


@register_detector("clusters")
class Clusters:
    """Kernels that respond to the centres of clusters of patches (Coates, Lee and Ng 2011, by k-means).

    Patches are drawn from the images, brought to mean 0 and deviation 1, and whitened (ZCA), which takes away what
    neighbouring pixels share. A patch belongs to the centre with which it has the largest product, of either sign;
    centres have length 1. The response to a pixel is about that product.

    All is computed in float64 on the CPU, so the kernels do not depend on the device of the images. Until an encoder is
    fitted random kernels hold their place.

    Args:
        count: Number of kernels.
        size: Their height and width, in boxes.
        box: Height and width in pixels of a box, the squares of a kernel that have the same weight.
        channels: The weight of each channel in the image whose patches are taken, a single one is that of all channels;
            hardware adds such an image up once for all kernels. None takes patches of all channels as they are.
        most: Their largest weight of a box.
        patches: Patches that are drawn.
        rounds: Rounds of k-means.
        smoothing: Is added to the variance of each direction before whitening; more of it keeps fine detail low.
        seed: Seed of the patches and of the first centres, which are patches.

    Raises:
        ValueError: A number is out of range.
    """

    @checked_constructor
    def __init__(
        self,
        count: int = 32,
        size: int = 5,
        box: int = 1,
        channels: Sequence[int] | None = None,
        *,
        most: int = 7,
        patches: int = 60_000,
        rounds: int = 10,
        smoothing: float = 0.1,
        seed: int = 0,
    ) -> None:
        numbers = {"count": count, "size": size, "box": box, "most": most, "rounds": rounds}
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"detectors.clusters: {name}={value} must be at least 1")
        if patches < count:
            raise ValueError(f"detectors.clusters: patches={patches} must be at least count={count}")
        if smoothing <= 0:
            raise ValueError(f"detectors.clusters: smoothing={smoothing} must be above 0")
        self.count, self.size, self.box, self.most = count, size, box, most
        self.channels = None if channels is None else list(channels)
        self.patches, self.rounds, self.smoothing, self.seed = patches, rounds, smoothing, seed

    def start(self) -> list[Kernel]:
        """Random kernels of one channel."""
        generator = torch.Generator().manual_seed(self.seed)
        return as_whole(torch.randn(self.count, self.size, self.size, 1, generator=generator), self.most)

    def learn(self, x: Any) -> list[Kernel]:
        """The kernels, from an array or tensor of images `(rows, height, width[, channels])`, of pixels from 0 to 255.

        Raises:
            ValueError: They are smaller than a kernel, there are none, or they show nothing.
        """
        generator = torch.Generator().manual_seed(self.seed)
        patches = self._draw(x, generator)
        shape = patches.shape[1:]
        patches = patches.flatten(1)
        patches = patches - patches.mean(1, keepdim=True)
        patches = patches / (patches.std(1, correction=0, keepdim=True) + CONTRAST)
        patches = patches - patches.mean(0)
        variances, directions = torch.linalg.eigh(patches.t() @ patches / len(patches))
        whitening = directions * (variances.clamp(min=0) + self.smoothing).rsqrt() @ directions.t()
        kernels = self._centres(patches @ whitening, generator) @ whitening
        kernels = kernels.view(-1, *shape).repeat_interleave(self.box, 1).repeat_interleave(self.box, 2)
        return [
            (torch.tensor(kernel) * torch.tensor(self.channels or 1)).tolist()
            for kernel in as_whole(kernels, self.most)
        ]

    def _draw(self, x: Any, generator: torch.Generator) -> Tensor:  # (patches, size, size, channels)
        height, width, channels = image_shape(x.shape[1:])
        reach = self.size * self.box
        if not len(x) or reach > min(height, width):
            raise ValueError(
                f"detectors.clusters: kernels of {reach} x {reach} pixels need images as large; got {len(x)} images of "
                f"{height} x {width}"
            )
        if self.channels is not None and len(self.channels) not in (1, channels):
            raise ValueError(
                f"detectors.clusters: channels={self.channels} must be one weight, or one for each of the {channels} "
                "channels of the images"
            )
        limits = (len(x), height - reach + 1, width - reach + 1)
        rows, top, left = (torch.randint(limit, (self.patches, 1, 1), generator=generator) for limit in limits)
        inside = torch.arange(reach)
        at = (rows, top + inside[:, None], left + inside)
        drawn = x[tuple(place.to(x.device) if isinstance(x, Tensor) else place.numpy() for place in at)]
        drawn = torch.as_tensor(drawn).cpu().double().view(-1, reach, reach, channels)
        if self.channels is not None:
            weights = torch.tensor(self.channels, dtype=torch.float64).expand(channels)
            drawn = (drawn * weights).sum(3, keepdim=True) / weights.abs().sum()
        return drawn.view(-1, self.size, self.box, self.size, self.box, drawn.shape[3]).mean((2, 4))

    def _centres(self, patches: Tensor, generator: torch.Generator) -> Tensor:
        first = torch.randperm(len(patches), generator=generator)[: self.count]
        centres = F.normalize(patches[first])
        for _ in range(self.rounds):
            nearest = (patches @ centres.t()).abs().argmax(1)
            signed = (patches * centres[nearest]).sum(1, keepdim=True)
            sums = torch.zeros_like(centres).index_add_(0, nearest, patches * signed)
            centres = torch.where(sums.any(1, keepdim=True), F.normalize(sums), centres)  # one without patches stays
        return centres
