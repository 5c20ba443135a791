"""What a layer is in hardware."""

from dataclasses import dataclass

from torch import Tensor

from difflut import kernels


@dataclass(frozen=True, eq=False)
class HardLayer:
    """Tables, what they read and where they stand: all that evaluation, circuits and statistics need of a layer.

    Attributes:
        wiring: The position in the window that each input of a node reads: `(L, n)`, int64; in a dense layer that is
            the input itself.
        tables: `(L, m, 2**n)` booleans.
        placements: Windows at which every node stands, P times, with the same tables.
    """

    wiring: Tensor
    tables: Tensor
    placements: kernels.Placements

    @property
    def reads(self) -> kernels.Wiring:
        """The wiring as operations on banks take it."""
        return with_placements(self.wiring, self.placements)

    @property
    def num_tables(self) -> int:
        return self.tables.shape[0] * self.tables.shape[1]

    @property
    def num_lookups(self) -> int:
        """Look-ups for one sample: tables times placements."""
        return self.num_tables * self.placements.count


def with_placements(wiring: Tensor, placements: kernels.Placements) -> kernels.Wiring:
    """The wiring as operations on banks take it; a dense layer gives the same tensor, which is prepared once."""
    return wiring if placements.is_dense else kernels.PlacedWiring(wiring, placements)
