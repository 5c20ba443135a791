"""The memories of a stream: of LUTs or, where these would be many, blocks that devices have for that."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.arithmetic.tables import Tables

RAM_DEPTH, RAM_BITS, RAM_LUTS = 32, 6, 4  # a memory of so many words and bits is so many LUTs
ROM_DEPTH = 64  # words of which a LUT has a bit, where none is ever written
BLOCK_BITS, BLOCK_DEPTH = 36 * 1024, 512  # of a block; with fewer words, these have no more bits
BLOCK_LUTS = 400  # that a block is worth: Xilinx devices have about as many for each


@dataclass(frozen=True)
class Memory:
    """Words of so many bits.

    Attributes:
        constant: Whether they are never written.
    """

    depth: int
    width: int
    constant: bool = False

    @property
    def bits(self) -> int:
        return self.depth * self.width

    @property
    def luts(self) -> int:
        """LUTs, if it is made of these."""
        if self.constant:
            return self.width * -(-self.depth // ROM_DEPTH)
        return RAM_LUTS * -(-self.width // RAM_BITS) * -(-self.depth // RAM_DEPTH)

    @property
    def blocks(self) -> int:
        """Blocks, if it is made of these."""
        depth = max(1 << (self.depth - 1).bit_length(), BLOCK_DEPTH)
        return -(-self.width // max(BLOCK_BITS // depth, 1))

    @property
    def in_blocks(self) -> bool:
        return self.luts > BLOCK_LUTS * self.blocks


def add_constants(tables: Tables, content: np.ndarray, address: list[str]) -> list[str]:
    """The word at an address of a memory `(words, bits)`; the address has its lowest bit first."""
    outputs = []
    for column in np.pad(content, ((0, (1 << len(address)) - len(content)), (0, 0))).T:
        low = address[: ROM_DEPTH.bit_length() - 1]
        parts = column.reshape(-1, 1 << len(low))
        signals = [tables.add(sum(1 << entry for entry in np.flatnonzero(part).tolist()), low) for part in parts]
        for place in range(len(low), len(address), 2):
            choice = address[place : place + 2]
            signals = [add_choice(tables, signals[i : i + (1 << len(choice))], choice)
                       for i in range(0, len(signals), 1 << len(choice))]  # fmt: skip
        outputs += signals
    return outputs


def add_choice(tables: Tables, signals: list[str], choice: list[str]) -> str:
    """The one of `2**len(choice)` signals that is chosen."""
    init = sum(1 << at for at in range(1 << len(signals) + len(choice)) if at >> (at >> len(signals)) & 1)
    return tables.add(init, [*signals, *choice])
