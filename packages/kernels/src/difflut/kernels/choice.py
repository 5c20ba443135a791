"""What the pins of a learnable wiring read, before they read it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from difflut.kernels.bits import Bits
from difflut.kernels.placements import PlacedWiring, Placements, own_inputs
from difflut.kernels.selection import select


@dataclass(frozen=True, eq=False)
class Choice:
    """The inputs that pins choose, which stands where the tensor `select` of the same arguments could.

    `lookup` and `multilinear` of nodes that read their own pins, as `own_inputs` says, read through it: at many
    placements that tensor is large. All else reads `float()`.

    Attributes:
        x: (batch, features)
        logits: See `select`.
        candidates: See `select`.
        placements: Windows at which the pins stand, P of them.
        tau: See `select`.
        use_cuda: See `select`.
    """

    x: Tensor | Bits
    logits: Tensor
    candidates: Tensor | None
    placements: Placements
    tau: float
    use_cuda: bool = True

    @property
    def pins(self) -> int:
        return self.logits.shape[1 if self.candidates is None else 0]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.x), self.pins * self.placements.count

    @property
    def dtype(self) -> torch.dtype:
        return self.x.dtype

    @property
    def device(self) -> torch.device:
        return self.logits.device

    @property
    def requires_grad(self) -> bool:
        return self.x.requires_grad or self.logits.requires_grad

    ndim = 2

    def dim(self) -> int:
        return self.ndim

    def __len__(self) -> int:
        return len(self.x)

    def float(self) -> Tensor:
        """What the pins read: (batch, pins * P)."""
        return select(self.x, self.logits, self.candidates, self.placements, tau=self.tau, use_cuda=self.use_cuda)

    def feeds(self, reads: PlacedWiring) -> bool:
        """Whether node l reads the pins n l to n l + n - 1, at the placement where they stand."""
        wiring, where = reads.wiring, reads.placements
        pixelwise = where.kernel == where.stride == (1, 1) and where.count == self.placements.count
        return pixelwise and wiring is own_inputs(*wiring.shape, self.device)
