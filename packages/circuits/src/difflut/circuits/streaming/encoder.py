"""The encoder of a stream: the words of one pixel to its bits, by thresholds that may differ from pixel to pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.encoding import add_encoder, add_parity
from difflut.circuits.arithmetic.head import add_greater
from difflut.circuits.arithmetic.tables import Tables, inverse
from difflut.circuits.arithmetic.words import InputWords, limits_of_words
from difflut.circuits.streaming.network import StreamedNetwork
from difflut.circuits.streaming.responses import bit_names


@dataclass(frozen=True)
class PixelEncoder:
    """Tables from words, and where thresholds differ from pixel to pixel also from a memory of them.

    Attributes:
        inputs: Bits of a pixel's words, or of those of its features where there are detectors.
        tables: Their inputs are `x[…]`, these bits, and `t[…]`, those of the memory.
        outputs: The bits that are read, in the order of `StreamedNetwork.reads`.
        memory: The word of the memory at each pixel: `(pixels, bits)` booleans.
    """

    inputs: int
    tables: Tables
    outputs: list[str]
    memory: np.ndarray


def pixel_encoder(network: StreamedNetwork, words: InputWords) -> PixelEncoder:
    """Thresholds that are the same at all pixels are in the tables."""
    height, width, _ = network.shape
    limits, features = _features(network, words)
    limits = limits.reshape(height * width, len(features), -1)
    alike = (limits == limits[0]).all(0)  # (features, K)
    read = encoder_bits(network.circuit, np.array(network.reads))  # features of the first pixel are its channels
    compared = [read.comparisons[terms] for terms in read.terms]
    of_first = replace(words, limits=limits[0])
    tables, memory, outputs = Tables("t"), _Memory(height * width), []
    for signal, pairs, inverted in zip(network.reads, compared, read.inverted.tolist(), strict=True):
        if alike[tuple(pairs.T)].all():
            outputs += add_encoder(tables, encoder_bits(network.circuit, np.array([signal])), of_first, features)
            continue
        exceeds = [
            inverse(add_greater(tables, memory.beside(features[channel], limits[:, channel, index] + 1)))
            for channel, index in pairs.tolist()
        ]
        outputs.append(add_parity(tables, exceeds, inverted))
    return PixelEncoder(sum(map(len, features)), tables, outputs, memory.content)


def _features(network: StreamedNetwork, words: InputWords) -> tuple[np.ndarray, list[list[str]]]:
    """What the words of a pixel's features are compared with, `(pixels * features, K)`, and the bits of these words.

    Words of responses differ from those of the unrolled form, which at borders may have fewer bits.
    """
    height, width, channels = network.shape
    if not network.sums:
        return words.limits, bit_names("x", [words.width] * channels)
    pixels = height * width
    lowest, bits = np.zeros((2, network.circuit.num_features // pixels), np.int64)
    for feature, word in zip(network.features, network.sums[-1].gives, strict=True):
        lowest[feature], bits[feature] = word.lowest, word.bits
    limits = limits_of_words(network.circuit.thresholds, np.tile(lowest, pixels), np.tile(bits, pixels))
    return limits, bit_names("x", bits.tolist())


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
