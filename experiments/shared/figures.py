"""The style of all figures."""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, told apart by colour-blind readers and in grey.
HARD, RELAXED, CONSTANT, SATURATED, INK, FAINT = "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#333333", "#D9D9D9"

STYLE = {
    "figure.dpi": 150,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "legend.frameon": False,
    # Names of values and classes are plain text: a $ in them begins no formula.
    "text.parse_math": False,
}


@contextmanager
def figure_at(path: str | Path, size: tuple[float, float], formats: Sequence[str] = ("png",)) -> Iterator["Figure"]:
    """A figure in the house's style, saved at the end at `path`, with the suffix of each format.

    Nothing of the user's own style (matplotlibrc) counts, so that a figure is the same on every machine.

    Args:
        size: Width and height, inches.
        formats: File formats: "png", on white, and "svg", on nothing.
    """
    # A Figure of its own, without pyplot: no display is looked for, and threads do not share state.
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
        yield figure
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        for format in formats:
            background = "white" if format == "png" else "none"
            figure.savefig(Path(path).with_suffix(f".{format}"), format=format, facecolor=background)
            # The layout holds for the other formats too.
            figure.set_layout_engine("none")


def import_matplotlib() -> ModuleType:
    """Matplotlib, even where MPLBACKEND names a back end that is not installed here, as in a notebook it may."""
    if "matplotlib" in sys.modules or "MPLBACKEND" not in os.environ:
        return importlib.import_module("matplotlib")
    backend = os.environ.pop("MPLBACKEND")
    try:
        matplotlib = importlib.import_module("matplotlib")
    finally:
        os.environ["MPLBACKEND"] = backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = backend
    return matplotlib


def log_ticks(axis: "Axis", values: Sequence[float]) -> None:
    """Ticks of an axis whose scale is logarithmic, with plain numbers, and with enough of them for a narrow range."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    decades = max(values) >= 10 * min(values)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if decades else MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:.3g}")
    axis.set_minor_locator(NullLocator())


def percent(share: float, position: float | None = None) -> str:
    """A share as text; the position is what Matplotlib hands to a formatter."""
    return f"{100 * share:.3g} %"
