"""What learning a wiring needs besides the look-up: the best inputs, and factors of the gradient of their logits."""

from typing import NamedTuple

import torch
from torch import Tensor

from difflut.kernels.cuda.launching import launch
from difflut.kernels.cuda.wires import version_of


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
