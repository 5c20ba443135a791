"""The responses of an encoder's detectors as sums of pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from difflut.circuits.circuit.rows import distinct
from difflut.circuits.circuit.sums import WeightedSums

if TYPE_CHECKING:
    from difflut.encoders.detectors import Kernel

Terms = tuple[np.ndarray, np.ndarray]  # of sums: values and weights, both (sums, terms)


def response_sums(kernels: "Sequence[Kernel]", shape: Sequence[int]) -> WeightedSums:
    """The sums whose features are, pixel by pixel, the channels of an image and the responses to it.

    What several responses add up is added up once: sums of channels, where these have the same proportion at all points
    of a kernel, and sums of squares of pixels, which smoothing kernels are made of.

    Args:
        shape: Shape of an image: `(height, width, channels)`.
    """
    from difflut.encoders.responses import bank

    height, width, channels = shape
    detectors = bank(kernels, channels)
    parts = [separated(weights) for weights in detectors.weights.numpy()]
    pixels = np.arange(np.prod(shape)).reshape(shape)
    images = _Images(pixels, parts, detectors.above, detectors.left)
    features = [pixels[..., channel] for channel in range(channels)]
    for factors in parts:
        terms = [images.terms(mixture, spatial) for mixture, spatial in factors]
        sources, weights = (np.concatenate(arrays, axis=1) for arrays in zip(*terms, strict=True))
        features.append(images.sums.add(sources, weights).reshape(height, width))
    return images.sums.compared(np.stack(features, axis=-1).reshape(-1))


class _Sums:
    """Sums under construction."""

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._sources: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []

    def add(self, sources: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Adds sums of `(sums, terms)` values times weights, equal ones once; returns their numbers as values."""
        first, which = distinct(sources, weights)
        number = self._inputs + sum(map(len, self._sources))
        self._sources.append(sources[first])
        self._weights.append(weights[first])
        return number + which

    def compared(self, features: np.ndarray) -> WeightedSums:
        terms = max(sources.shape[1] for sources in self._sources)
        sources = [_padded(rows, terms, -1) for rows in self._sources]
        weights = [_padded(rows, terms, 0) for rows in self._weights]
        return WeightedSums(self._inputs, np.concatenate(sources), np.concatenate(weights), features)


def _padded(rows: np.ndarray, terms: int, value: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, terms - rows.shape[1])), constant_values=value)


class _Plane(NamedTuple):
    """Values `(height, width)`, the first one at `(top, left)` of the image; beyond them the outermost ones go on."""

    values: np.ndarray
    top: int = 0
    left: int = 0


class _Images:
    """What kernels read: mixtures of channels, and sums of squares of these, each made once.

    Args:
        pixels: Values of the pixels: `(height, width, channels)`.
        parts: Of each kernel, see `separated`.
        above: Lines that kernels reach above their pixel.
        left: Columns that they reach to its left.
    """

    def __init__(self, pixels: np.ndarray, parts: list[list[Terms]], above: int, left: int) -> None:
        self.sums = _Sums(pixels.size)
        self._pixels, self._above, self._left = pixels, above, left
        self._mixed: dict[bytes, _Plane] = {}
        self._squares: dict[tuple[bytes, int], _Plane] = {}
        spatials: dict[bytes, list[np.ndarray]] = {}
        for mixture, spatial in (factors for one in parts for factors in one):
            spatials.setdefault(mixture.tobytes(), []).append(spatial)
        self._sizes = {key: _square_sizes(alike) for key, alike in spatials.items()}

    def terms(self, mixture: np.ndarray, spatial: np.ndarray) -> Terms:
        """What the response at each pixel adds: the weights of points `(height, width)` times a mixture of channels."""
        key = mixture.tobytes()
        if key not in self._mixed:
            self._mixed[key] = self._mix(mixture)
        plane, size = self._mixed[key], self._sizes[key].get(spatial.tobytes(), 1)
        quotient = _quotient(spatial, size) if size > 1 else None
        if quotient is not None:
            if (key, size) not in self._squares:
                self._squares[key, size] = self._square(plane, size, spatial.shape)
            plane, spatial = self._squares[key, size], quotient
        height, width = self._pixels.shape[:2]
        return _terms(plane, spatial, np.arange(height) - self._above, np.arange(width) - self._left)

    def _mix(self, mixture: np.ndarray) -> _Plane:
        channels = np.flatnonzero(mixture)
        if len(channels) == 1 and mixture[channels[0]] == 1:
            return _Plane(self._pixels[..., channels[0]])
        sources = self._pixels[..., channels].reshape(-1, len(channels))
        values = self.sums.add(sources, np.broadcast_to(mixture[channels], sources.shape))
        return _Plane(values.reshape(self._pixels.shape[:2]))

    def _square(self, plane: _Plane, size: int, kernel: tuple[int, ...]) -> _Plane:
        """The sum of each square, at its upper left corner, wherever kernels have one: lines first, then columns."""
        (height, width), (kernel_height, kernel_width) = plane.values.shape, kernel
        lines = np.arange(height + kernel_height - size) - self._above
        columns = np.arange(width + kernel_width - size) - self._left
        across = self.sums.add(*_terms(plane, np.ones((1, size), np.int64), np.arange(height), columns))
        plane = _Plane(across.reshape(height, -1), 0, -self._left)
        values = self.sums.add(*_terms(plane, np.ones((size, 1), np.int64), lines, columns))
        return _Plane(values.reshape(len(lines), -1), -self._above, -self._left)


def separated(weights: np.ndarray) -> list[Terms]:
    """A kernel `(channels, height, width)` as weights of channels times weights of points, once or for each channel."""
    points = weights.reshape(len(weights), -1)
    first = points[:, points.any(0)][:, 0]
    mixture = first // np.gcd.reduce(first)
    channel = np.flatnonzero(mixture)[0]
    mixture = mixture * np.sign(mixture[channel])
    spatial = weights[channel] // mixture[channel]
    if (np.multiply.outer(mixture, spatial) == weights).all():
        return [(mixture, spatial)]
    channels = np.eye(len(weights), dtype=np.int64)
    return [(alone, spatial) for alone, spatial in zip(channels, weights, strict=True) if spatial.any()]


def _square_sizes(spatials: list[np.ndarray]) -> dict[bytes, int]:
    """For kernels of points that are sums of squares the size of these, where it saves terms to share them."""
    sizes: dict[bytes, int] = {}
    for size in range(max(spatials[0].shape), 1, -1):
        saved = {}
        for spatial in spatials:
            quotient = _quotient(spatial, size)
            if quotient is not None and spatial.tobytes() not in sizes:
                saved[spatial.tobytes()] = np.count_nonzero(spatial) - np.count_nonzero(quotient)
        if sum(saved.values()) > 2 * size:
            sizes |= dict.fromkeys(saved, size)
    return sizes


def _quotient(spatial: np.ndarray, size: int) -> np.ndarray | None:
    """The weights of squares of a size whose sum is a kernel; None where there are none."""
    for axis in (0, 1):
        rows = np.moveaxis(spatial, axis, 0)
        if len(rows) < size:
            return None
        weights = np.zeros((len(rows) - size + 1, rows.shape[1]), np.int64)
        for row in range(len(weights)):
            weights[row] = rows[row] - weights[max(row - size + 1, 0) : row].sum(0)
        shifted = [np.pad(weights, ((row, size - 1 - row), (0, 0))) for row in range(size)]
        if (np.sum(shifted, axis=0) != rows).any():
            return None
        spatial = np.moveaxis(weights, 0, axis)
    return spatial


def _terms(plane: _Plane, spatial: np.ndarray, lines: np.ndarray, columns: np.ndarray) -> Terms:
    """What is added for a kernel of points whose upper left one lies at each of the lines and columns."""
    down, right = np.nonzero(spatial)
    height, width = plane.values.shape
    rows = np.clip(lines[:, None] + down - plane.top, 0, height - 1)
    places = np.clip(columns[:, None] + right - plane.left, 0, width - 1)
    sources = plane.values[rows[:, None], places[None]].reshape(-1, len(down))
    return _merged(sources, np.broadcast_to(spatial[down, right], sources.shape))


def _merged(sources: np.ndarray, weights: np.ndarray) -> Terms:
    """Terms `(sums, terms)` of which none reads the same value twice, as several do at a border, nor weighs 0."""
    order = np.argsort(sources, axis=1, kind="stable")
    sources, weights = (np.take_along_axis(rows, order, 1) for rows in (sources, weights))
    term = np.cumsum(np.diff(sources, axis=1, prepend=sources[:, :1]) != 0, axis=1)
    merged = np.zeros_like(weights)
    np.add.at(merged, (np.arange(len(term))[:, None], term), weights)
    values = np.full_like(sources, -1)
    np.put_along_axis(values, term, sources, 1)
    return np.where(merged == 0, -1, values), merged
