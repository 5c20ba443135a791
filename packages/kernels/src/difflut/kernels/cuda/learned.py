"""Learning a wiring: the best inputs, and the factors of the gradient of their logits."""

import torch
from torch import Tensor

from difflut.kernels.cuda.launching import launch
from difflut.kernels.facts import known


def signs(bits: Tensor) -> Tensor:
    """1 where a bit is set and -1 elsewhere, twice side by side: (features, 2 * padded batch) bfloat16.

    A product with numbers that `pin_gradient` split into pairs then adds up both of each pair.
    """
    features, words = bits.shape
    out = torch.empty(features, 64 * words, dtype=torch.bfloat16, device=bits.device)
    launch("signs", bits, features, words, out)
    return out


def best_inputs(logits: Tensor) -> Tensor:
    """The first of the largest logits of each column, (pins,) int32.

    They are kept only where `Adam` has them up to date: torch's fused optimizers change logits unnoticed.
    """
    best = known(logits, "best_inputs") or BestInputs()
    if best.keys is None:
        best.keys = logits.new_zeros(logits.shape[1], dtype=torch.int64)
        best.find(logits)
    pins = torch.empty(logits.shape[1], dtype=torch.int32, device=logits.device)
    launch("read_keys", best.keys, len(pins), pins)
    return pins


class BestInputs:
    """The largest logit of each column, which `Adam` brings up to date once somebody has asked for it.

    The keys stay in their place, so that CUDA graphs which read them stay valid.
    """

    keys: Tensor | None = None

    def find(self, logits: Tensor) -> None:
        """Fills the keys, which must be 0."""
        launch("argmax", logits, *logits.shape, self.keys)
