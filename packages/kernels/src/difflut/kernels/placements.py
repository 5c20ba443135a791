"""Where the nodes of a layer stand: once, or at every window of an image with the same tables."""

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Placements:
    """The windows at which every node of a layer is evaluated, with the same table at all of them.

    The rows that nodes read are those of an image, `(channel * height + y) * width + x`. An entry of the wiring is a
    position in the window, `(channel * kernel height + dy) * kernel width + dx`. What lies outside the image is 0.
    The outputs of node l are the rows `(l * out_height + y) * out_width + x`. A dense layer is the special case of an
    image of one pixel: it has one placement, and the wiring's entries are the rows.

    Attributes:
        channels: Channels of the image; in a dense layer, its inputs.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        kernel: Height and width of a window.
        stride: Pixels from a window to the next, down and to the right.
        padding: Rows above and below, and columns left and right of the image, that read 0.

    Raises:
        ValueError: A size is not positive, or the windows do not fit.
    """

    channels: int
    height: int = 1
    width: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width, *self.kernel, *self.stride) < 1 or min(self.padding) < 0:
            raise ValueError(f"sizes and strides must be positive, and padding not negative, got {self}")
        for name, size, kernel, padding in zip(
            ("height", "width"), (self.height, self.width), self.kernel, self.padding, strict=True
        ):
            if kernel > size + 2 * padding:
                raise ValueError(
                    f"kernel={self.kernel} does not fit an image of {name}={size} with padding={padding}; "
                    f"its {name} may be {size + 2 * padding} at most"
                )
            if padding >= kernel:
                raise ValueError(
                    f"padding={padding} must be smaller than the kernel's {name} {kernel}, or windows read only zeros"
                )

    @cached_property
    def is_dense(self) -> bool:
        """Whether there is one placement whose window is the whole input."""
        return self.height == self.width == 1 and self.kernel == (1, 1)

    @cached_property
    def features(self) -> int:
        """Rows of the image."""
        return self.channels * self.height * self.width

    @cached_property
    def window(self) -> int:
        """Inputs of a window, which bound the entries of a wiring."""
        return self.channels * self.kernel[0] * self.kernel[1]

    @cached_property
    def out_height(self) -> int:
        return (self.height + 2 * self.padding[0] - self.kernel[0]) // self.stride[0] + 1

    @cached_property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding[1] - self.kernel[1]) // self.stride[1] + 1

    @cached_property
    def count(self) -> int:
        """Placements, P."""
        return self.out_height * self.out_width

    def rows(self, wiring: Tensor) -> Tensor:
        """The rows that pins read at every placement, -1 where that is outside the image.

        Args:
            wiring: Positions in the window, of any shape, int64.

        Returns:
            The wiring's shape with an axis more at the end, of the P placements row by row, int64.
        """
        position, dx = wiring // self.kernel[1], wiring % self.kernel[1]
        channel, dy = position // self.kernel[0], position % self.kernel[0]
        down = torch.arange(self.out_height, device=wiring.device) * self.stride[0] - self.padding[0]
        right = torch.arange(self.out_width, device=wiring.device) * self.stride[1] - self.padding[1]
        y, x = dy[..., None, None] + down[:, None], dx[..., None, None] + right
        rows = (channel[..., None, None] * self.height + y) * self.width + x
        outside = (y < 0) | (y >= self.height) | (x < 0) | (x >= self.width)
        return rows.masked_fill(outside, -1).flatten(-2)


@dataclass(frozen=True, eq=False)
class PlacedWiring:
    """A wiring that is read at every placement; what operations on banks take in the place of a plain wiring.

    Attributes:
        wiring: Positions in the window, the least significant address bit first. (L, n), int64
        placements: Windows at which the nodes stand.
    """

    wiring: Tensor
    placements: Placements


Wiring = Tensor | PlacedWiring


@cache
def own_inputs(nodes: int, n: int, device: torch.device) -> Tensor:
    """The wiring in which node `i` reads the `i`-th n inputs: (L, n), int64."""
    # Made once, since back ends keep what they prepare for a wiring as long as its tensor lives.
    with torch.inference_mode(False):
        return torch.arange(nodes * n, device=device).view(nodes, n)


def placed(wiring: Wiring, features: int) -> PlacedWiring:
    """The wiring with its placements; a plain one is that of a dense layer of so many features."""
    return wiring if isinstance(wiring, PlacedWiring) else PlacedWiring(wiring, _dense(features))


@lru_cache(maxsize=256)
def _dense(features: int) -> Placements:
    return Placements(features)
