"""The looks of values: the same in every figure, in colours that colour-blind readers can tell apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.report.outcomes import number
from experiments.shared.figures import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg")

# Okabe and Ito without yellow and black, which vanish on white and on dark paper.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7F7F7F")
MARKERS = ("o", "s", "^", "D")
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    dash: str


PLAIN = Look(COLOURS[0], "o", "-")


def looks(values: Sequence[str]) -> dict[str, Look]:
    """A look for each value; numbers get a sequence of colours from dark to light, names get different ones.

    After seven names the colours come again with another marker and dash.
    """
    if len(values) > 2 and all(number(value) is not None for value in values):
        order = sorted(values, key=float)
        return {value: Look(_shade(order.index(value) / (len(values) - 1)), "o", "-") for value in values}
    turns = [divmod(index, len(COLOURS)) for index in range(len(values))]
    return {
        value: Look(COLOURS[colour], MARKERS[turn % len(MARKERS)], DASHES[turn % len(DASHES)])
        for value, (turn, colour) in zip(values, turns, strict=True)
    }


def _shade(share: float) -> str:
    colormaps = import_matplotlib().colormaps
    from matplotlib.colors import to_hex

    # The ends of the map are too dark for dark paper and too light for white.
    return to_hex(colormaps["viridis"](0.28 + 0.5 * share))


def draw_legend(axes: "Axes", looks: Mapping[str, Look], marks: bool) -> None:
    """A legend beside the panel, of marks or of lines."""
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=look.colour, marker=look.marker if marks else None, ls="" if marks else look.dash)
        for look in looks.values()
    ]
    if entries:
        dashes = len(entries) * ["-"]
        legend = axes.legend(entries, dashes, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.03))
        # Written afterwards: a legend leaves out labels that begin with an underscore.
        for text, name in zip(legend.get_texts(), looks, strict=True):
            text.set_text(name)
