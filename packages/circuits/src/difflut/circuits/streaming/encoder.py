"""The encoder of a stream: the words of one pixel to its bits, by thresholds that may differ from pixel to pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.encoding import add_encoder, add_parity
from difflut.circuits.arithmetic.features import FeatureWords
from difflut.circuits.arithmetic.head import add_greater
from difflut.circuits.arithmetic.tables import Tables, inverse
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.streaming.network import StreamedNetwork


@dataclass(frozen=True)
class PixelEncoder:
    """Tables from words, and where thresholds differ from pixel to pixel also from a memory of them.

    Attributes:
        tables: Their inputs are `x[…]`, the bits of a pixel's words, and `t[…]`, those of the memory.
        outputs: The bits that are read, in the order of `StreamedNetwork.reads`.
        memory: The word of the memory at each pixel: `(pixels, bits)` booleans.
    """

    tables: Tables
    outputs: list[str]
    memory: np.ndarray


def pixel_encoder(network: StreamedNetwork, words: InputWords) -> PixelEncoder:
    """Thresholds that are the same at all pixels are in the tables."""
    height, width, channels = network.shape
    limits = words.limits.reshape(height * width, channels, -1)
    alike = (limits == limits[0]).all(0)  # (channels, K)
    read = encoder_bits(network.circuit, np.array(network.reads))  # features of the first pixel are its channels
    compared = [read.comparisons[terms] for terms in read.terms]
    names = [f"x[{bit}]" for bit in range(channels * words.width)]
    tables, memory = Tables("t"), _Memory(height * width)
    features, outputs = FeatureWords(tables, network.circuit, words, names), []
    for signal, pairs, inverted in zip(network.reads, compared, read.inverted.tolist(), strict=True):
        if alike[tuple(pairs.T)].all():
            outputs += add_encoder(tables, encoder_bits(network.circuit, np.array([signal])), words, features)
            continue
        exceeds = [
            inverse(add_greater(tables, memory.beside(features[channel], limits[:, channel, index] + 1)))
            for channel, index in pairs.tolist()
        ]
        outputs.append(add_parity(tables, exceeds, inverted))
    return PixelEncoder(tables, outputs, memory.content)


class _Memory:
    """Bits that differ from pixel to pixel, equal ones once."""

    def __init__(self, pixels: int) -> None:
        self._columns: dict[bytes, np.ndarray] = {}
        self._pixels = pixels

    @property
    def content(self) -> np.ndarray:
        return np.stack(list(self._columns.values()), 1) if self._columns else np.zeros((self._pixels, 0), bool)

    def beside(self, word: Sequence[str], numbers: np.ndarray) -> list[tuple[str, str]]:
        """The digits of a word, and those of the number at each pixel that it is compared with."""
        width = max(len(word), int(numbers.max()).bit_length())
        digits = [*word, *["0"] * (width - len(word))]
        return [(digit, self._bit(numbers >> place & 1 == 1)) for place, digit in enumerate(digits)]

    def _bit(self, bits: np.ndarray) -> str:
        if (bits == bits[0]).all():
            return "01"[int(bits[0])]
        key = bits.tobytes()
        self._columns.setdefault(key, bits)
        return f"t[{list(self._columns).index(key)}]"
