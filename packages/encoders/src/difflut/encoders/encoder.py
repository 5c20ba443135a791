"""What all encoders share: sorted thresholds and a code book."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from difflut.encoders.data import ArrayData, Data, StreamData, as_array, image_shape
from difflut.encoders.detectors import Kernel
from difflut.encoders.learning import with_slope
from difflut.encoders.responses import Learner, ResponseData, as_kernels, response_batches, with_responses, word_ranges
from difflut.encoders.snapping import snapped, snapped_whole
from difflut.registry import Configured

# Up to so many thresholds, comparing with all of them is quicker than a search, if the comparisons fit in a cache.
COUNTED_THRESHOLDS = 16
COUNTED_COMPARISONS = 2**23
WORD_BITS = range(1, 33)
TEMPERATURE = 0.1
FeatureWise = bool | Literal["channels"]


def exceeds(x: Tensor, thresholds: Tensor) -> Tensor:
    """`x > thresholds`, broadcast, as float32."""
    # The result goes into floats at once, since a conversion of booleans takes twice as long.
    return torch.gt(x, thresholds, out=x.new_empty(torch.broadcast_shapes(x.shape, thresholds.shape)))


class Encoder(Configured, nn.Module, ABC):
    """Real inputs to bits: `bits = codebook[level]`, where the level is how many of the thresholds `x` exceeds.

    A kind of encoder states its code book (`make_codebook`) and, unless they are evenly spaced between the smallest
    and the largest value, its thresholds (`make_thresholds`). Both are plain arrays once fitted, which is all that a
    hardware back end needs to know.

    Inputs are rounded to float32, and `x > threshold` is decided there. NaN has level 0, infinities the lowest and the
    highest level. The inputs get no gradient. A feature that is constant in the training inputs has all its thresholds
    at that value (`SignMagnitude` differs): the value itself and what is below have level 0, what is above the highest.

    Args:
        num_bits: Bits for each feature.
        flatten: Whether the bits of all features come as one axis, those of feature 0 first.
        feature_wise: Whether each feature has its own thresholds; otherwise all share one set. `"channels"`: the
            features of a channel, the last axis, share one, as the tables of a convolution expect.
        word_bits: Bits of the words that features are in hardware; thresholds are moved to the nearest ones that such
            words can tell apart. None leaves them where they are.
        detectors: Kernels, or lists of kernels, whose responses to an image are features as its channels are: see
            `detectors`. Inputs are then pixels, whole numbers from 0 to 255; others are rounded up and held within.
        learnable: Whether the thresholds are trained with the network, from the fitted ones on. Training compares as
            evaluation does, and the gradient is that of a sigmoid (see `learning.with_slope`).
        temperature: Width of this sigmoid, in standard deviations of the feature.

    Attributes:
        thresholds: The fitted ones, float32 `(features or 1, levels - 1)`, ascending along the last axis. What inputs
            are compared with is `hard_thresholds()`.
        codebook: uint8 `(levels, num_bits)`.
        feature_shape: The shape of one training input; with detectors `(height, width, channels)`.
        moves: Of learnable thresholds, how far each has moved, in standard deviations of its feature.
    """

    max_bits: ClassVar[int | None] = None
    thresholds: Tensor
    codebook: Tensor
    spread: Tensor
    pixels: Tensor

    def __init__(
        self,
        num_bits: int = 8,
        flatten: bool = True,
        feature_wise: FeatureWise = True,
        word_bits: int | None = None,
        detectors: Sequence[Any] | None = None,
        learnable: bool = False,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        if num_bits < 1:
            raise ValueError(f"{type(self).__name__}: num_bits={num_bits} must be at least 1")
        if self.max_bits is not None and num_bits > self.max_bits:
            raise ValueError(
                f"{type(self).__name__} compares each feature with 2**num_bits - 1 thresholds, so num_bits may be "
                f"{self.max_bits} at most; got {num_bits}"
            )
        if word_bits is not None and word_bits not in WORD_BITS:
            raise ValueError(f"word_bits={word_bits} must be from {WORD_BITS[0]} to {WORD_BITS[-1]}, or None")
        if temperature <= 0 or (temperature != TEMPERATURE and not learnable):
            raise ValueError(f"temperature={temperature} must be above 0, and needs learnable=True")
        self.num_bits = num_bits
        self.word_bits = word_bits
        self.flatten = flatten
        self.feature_wise = feature_wise
        self.detectors = as_kernels(detectors) if detectors else None
        self._given = list(detectors or [])
        self.feature_shape: tuple[int, ...] = ()
        self.learnable, self.temperature = learnable, temperature
        self.register_buffer("codebook", self.make_codebook(), persistent=False)
        self.register_buffer("thresholds", torch.empty(0, len(self.codebook) - 1))
        if learnable:
            self.moves = nn.Parameter(torch.empty_like(self.thresholds))
            self.register_buffer("spread", torch.empty(0, 1))
            self.register_buffer("pixels", torch.tensor(False))

    @abstractmethod
    def make_codebook(self) -> Tensor:
        """The bits of every level: uint8 `(levels, num_bits)`, all rows different."""

    def make_thresholds(self, data: Data) -> Tensor:
        """The thresholds `(features or 1, levels - 1)` in float64; here spaced between minimum and maximum."""
        low, high = data.range()
        return low.unsqueeze(1) + (high - low).unsqueeze(1) * self.fractions()

    def fractions(self) -> Tensor:
        """The positions of the thresholds between 0 and 1, ends excluded: float64 `(levels - 1,)`."""
        levels = len(self.codebook)
        return torch.arange(1, levels, dtype=torch.float64) / levels

    @property
    def fitted(self) -> bool:
        """Whether there are thresholds."""
        return len(self.thresholds) > 0

    @property
    def output_size(self) -> int:
        """Bits for one input, `features * num_bits`; known once fitted."""
        self._require_fitted()
        return math.prod(self.compared_shape(self.feature_shape)) * self.num_bits

    def compared_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the features of one input: its own, with a channel more for each detector.

        Raises:
            ValueError: There are detectors, and the input is no image.
        """
        if not self.detectors:
            return tuple(input_shape)
        height, width, channels = image_shape(input_shape)
        return height, width, channels + len(self.detectors)

    @torch.no_grad()
    def fit(self, x: Any) -> Self:
        """Sets the thresholds from training inputs, after the kernels of detectors that are learned from them.

        Args:
            x: Tensor or array `(rows, *feature_shape)` of any real type, or an iterable of such batches, which is
                read once, and twice where thresholds are learnable. Working memory stays bounded. Quantiles are exact
                for an array, and for an iterable those of a seeded random sample of `data.SAMPLE_ROWS` rows.
                Detectors to be learned need an array.

        Raises:
            ValueError: There are no rows, a value is NaN or infinite, float32 cannot tell a feature's values apart, or
                batches differ in shape. With detectors: inputs are no images of pixels.
            TypeError: A batch is not an array.

        Warns where a feature that varies comes out constant.
        """
        if not hasattr(x, "__array__") and not hasattr(x, "__iter__"):
            raise TypeError(f"{type(self).__name__}: fit takes a tensor, an array, or an iterable of them; got {x!r}")
        if any(isinstance(entry, Learner) for entry in self._given):
            self.detectors = self._learned_detectors(x)
        data = self._data(x)
        thresholds = self._fitted_thresholds(data).sort(dim=1).values
        self.thresholds = thresholds.to(self.thresholds.device, torch.float32)
        self.feature_shape = data.feature_shape
        if self.detectors:
            self.feature_shape = *self.feature_shape[:2], self.feature_shape[2] - len(self.detectors)
        if self.learnable:
            spread = data.moments()[1].float().view(-1, 1).to(self.thresholds.device)
            self.moves, self.spread = nn.Parameter(torch.zeros_like(self.thresholds)), spread
            self.pixels.fill_(data.pixels)
        elif self.word_bits is not None:
            self.snap(self.word_bits, data.pixels)
        return self

    def _data(self, x: Any) -> Data:
        pooled, is_array = not self.feature_wise, hasattr(x, "__array__")
        if not self.detectors:
            return ArrayData(x, pooled) if is_array else StreamData(x, pooled)
        if is_array:
            return ResponseData(x, self.detectors, pooled)
        return StreamData(response_batches(x, self.detectors), pooled)

    def _fitted_thresholds(self, data: Data) -> Tensor:
        if self.feature_wise != "channels":
            thresholds = self.make_thresholds(data)
            self._warn_of_lost(thresholds.float(), data.low, data.high)
            return thresholds
        channels = data.channels()
        thresholds = torch.cat([self.make_thresholds(channel) for channel in channels])
        low, high = data.low.view(-1, len(channels)), data.high.view(-1, len(channels))
        self._warn_of_lost(thresholds.float(), low.amin(0), high.amax(0))
        return thresholds.repeat(len(low), 1)

    def _learned_detectors(self, x: Any) -> list[Kernel]:
        if not hasattr(x, "__array__"):
            raise TypeError(
                f"{type(self).__name__}: detectors to be learned need the training images as one array, got a "
                f"{type(x).__name__}"
            )
        array, _ = as_array(x)
        return as_kernels(entry.learn(array) if isinstance(entry, Learner) else entry for entry in self._given)

    def hard_thresholds(self) -> Tensor:
        """What evaluation compares inputs with: float32 `(features or 1, levels - 1)`, ascending."""
        if not self.learnable:
            return self.thresholds
        with torch.no_grad():
            present = self._moved()
            return present if self.word_bits is None else self._snapped(present, self.word_bits, self.pixels)

    def _moved(self) -> Tensor:
        # A level is how many thresholds are exceeded, so their order is nothing that could be learned.
        return (self.thresholds + self.spread * self.moves).sort(dim=1).values

    def hardened(self) -> "Encoder":
        """A copy that gives the same bits, and whose thresholds learn no more."""
        if not self.learnable:
            return deepcopy(self)
        return self.remade(self.hard_thresholds(), self.detectors)

    def remade(self, thresholds: Tensor, detectors: Sequence[Kernel] | None) -> "Encoder":
        """An encoder of this kind and for inputs of this shape, with fixed thresholds and other detectors.

        Args:
            thresholds: See `hard_thresholds`.
            detectors: Kernels, as many as there are thresholds for.
        """
        kept = {name: value for name, value in self.get_params().items() if name not in ("learnable", "temperature")}
        made = type(self)(**kept | ({"detectors": list(detectors)} if detectors else {})).to(self.thresholds.device)
        made.thresholds, made.feature_shape = thresholds, self.feature_shape
        return made

    def _warn_of_lost(self, thresholds: Tensor, low: Tensor, high: Tensor) -> None:
        low, high = low.unsqueeze(1), high.unsqueeze(1)
        lost = (low < high).squeeze(1) & ~((thresholds >= low) & (thresholds < high)).any(dim=1)
        if lost.any():
            first = int(lost.nonzero()[0])
            warnings.warn(
                f"{type(self).__name__}: {int(lost.sum())} of {len(lost)} features vary and come out constant: no "
                f"threshold lies between their values; first feature {first}, from {low[first].item():g} to "
                f"{high[first].item():g}; take more bits, another encoder, or feature_wise=True",
                stacklevel=4,
            )

    @torch.no_grad()
    def snap(self, word_bits: int, pixels: bool) -> None:
        """Moves the thresholds to the nearest that words of so many bits tell apart.

        Args:
            pixels: Whether inputs are whole numbers from 0 to 255, as those of detectors always are.
        """
        self._require_fitted()
        self.thresholds = self._snapped(self.hard_thresholds(), word_bits, torch.tensor(pixels))
        if self.learnable:
            self.moves.zero_()

    def _snapped(self, thresholds: Tensor, word_bits: int, pixels: Tensor) -> Tensor:
        if self.detectors and self.feature_wise:
            low, bits = (of.to(thresholds.device) for of in word_ranges(self.detectors, self.feature_shape))
            found = snapped_whole(thresholds, word_bits, low, bits)
        else:
            whole = pixels.to(thresholds.device) & (not self.detectors)
            found = torch.where(whole, snapped_whole(thresholds, word_bits), snapped(thresholds, word_bits))
        return found.to(torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """The bits of a batch, as 0. and 1. in float32.

        Args:
            x: `(batch, *feature_shape)` or `(batch, features)`, of any real type.

        Returns:
            `(batch, features * num_bits)` if `flatten`, else `(*x.shape, num_bits)`.

        Raises:
            RuntimeError: The encoder is not fitted.
            ValueError: The input has another number of features, or other axes, than the training inputs.
            TypeError: The input is no tensor.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"{type(self).__name__}: needs a tensor, got a {type(x).__name__}; take torch.as_tensor(x)")
        self._require_fitted()
        self._require_features(tuple(x.shape[1:]))
        if self.detectors:
            x = with_responses(x.reshape(len(x), *self.feature_shape), self.detectors)
        rows = x.detach().to(torch.float32).reshape(len(x), math.prod(x.shape[1:]))
        with torch.no_grad():
            bits = self._encode(rows, self.hard_thresholds())
        if self.learnable and self.training and torch.is_grad_enabled():
            width = self.temperature * torch.where(self.spread > 0, self.spread, 1.0)
            bits = with_slope(bits, rows, self._moved(), self.codebook, width)
        return bits.reshape((len(x), self.output_size) if self.flatten else (*x.shape, self.num_bits))

    def _encode(self, x: Tensor, thresholds: Tensor) -> Tensor:  # (batch, features) -> (batch, features, num_bits)
        return nn.functional.embedding(_level(x, thresholds), self.codebook.to(torch.float32))

    def _require_fitted(self) -> None:
        if not self.fitted:
            raise RuntimeError(f"{type(self).__name__} is not fitted; call encoder.fit(training_inputs) first")

    def _require_features(self, shape: tuple[int, ...]) -> None:
        # Two shapes of the same size are told apart, because channels-first images would silently meet the thresholds
        # of channels-last ones; an axis of length 1 changes nothing.
        sizes, fitted = ([n for n in axes if n != 1] for axes in (shape, self.feature_shape))
        if math.prod(sizes) != math.prod(fitted) or (len(sizes) > 1 and len(fitted) > 1 and sizes != fitted):
            raise ValueError(
                f"{type(self).__name__} was fitted on {math.prod(fitted)} features of shape {self.feature_shape}; "
                f"got {math.prod(sizes)} of shape {shape}"
            )

    def extra_repr(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{settings}, feature_shape={self.feature_shape}" if self.fitted else f"{settings}, not fitted"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        kept = {name: getattr(self, name).data for name in self._sized()}
        super()._apply(fn, recurse)
        if self.thresholds.dtype != torch.float32:  # model.half() must not move the thresholds
            for name, tensor in kept.items():
                getattr(self, name).data = tensor.to(self.thresholds.device)
        return self

    def _sized(self) -> tuple[str, ...]:
        """The float32 tensors whose size fitting decides."""
        return ("thresholds", "moves", "spread") if self.learnable else ("thresholds",)

    def get_extra_state(self) -> Tensor:
        """The feature shape, which the state dict carries beside the thresholds."""
        return torch.tensor(self.feature_shape, dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the feature shape from a state dict."""
        self.feature_shape = tuple(state.tolist())

    def check_state(self) -> None:
        """Raises a `ValueError` where the thresholds do not ascend, or are not those of the features."""
        kind, rows = type(self).__name__, len(self.thresholds)
        features = math.prod(self.compared_shape(self.feature_shape)) if self.fitted else 0
        if self.thresholds.isnan().any() or (self.thresholds.diff(dim=1) < 0).any():
            raise ValueError(f"{kind}: thresholds must ascend, without NaN")
        if self.learnable and (self.moves.shape != self.thresholds.shape or self.spread.shape != (rows, 1)):
            raise ValueError(
                f"{kind}: moves and spread of learnable thresholds do not fit the {rows} rows of thresholds"
            )
        if self.fitted and (min(self.feature_shape, default=1) < 1 or rows not in (1, features)):
            raise ValueError(f"{kind}: {rows} rows of thresholds do not fit features of shape {self.feature_shape}")

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name in self._sized():
            loaded, present = state_dict.get(f"{prefix}{name}"), getattr(self, name)
            if loaded is not None and loaded.shape[1:] == present.shape[1:]:
                present.data = present.new_empty(loaded.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _level(x: Tensor, thresholds: Tensor) -> Tensor:  # (batch, features), integers
    count = thresholds.shape[1]
    if count <= COUNTED_THRESHOLDS and count * x.numel() <= COUNTED_COMPARISONS:
        return exceeds(x, thresholds.t().contiguous().unsqueeze(1)).sum(dim=0).to(torch.int32)
    x = x.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    if len(thresholds) == 1:
        return torch.bucketize(x, thresholds[0], out_int32=True)
    return torch.searchsorted(thresholds, x.t().contiguous(), out_int32=True).t()
