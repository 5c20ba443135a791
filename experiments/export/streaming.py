"""The streaming form of a convolutional network: written, and what it costs."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from difflut import circuits
from difflut.circuits import InputWords, StreamDesign, StreamedNetwork
from difflut.models import LUTNetwork
from experiments.export.checks import Expected
from experiments.export.steps import Steps


class Stream(NamedTuple):
    """A network that takes a pixel a clock, and its Verilog."""

    network: StreamedNetwork
    design: StreamDesign


def write_streaming(
    network: LUTNetwork,
    folder: Path,
    words: InputWords,
    lut_size: int,
    verilog: dict[str, Any],
    expected: Expected,
    steps: Steps,
) -> Stream:
    """Writes streaming/, whose testbench has the images that are given, with gaps between them and in them.

    Args:
        verilog: Arguments of `write_stream`.
    """
    streamed = steps.run("simplify, streaming", lambda: StreamedNetwork.from_model(network, lut_size))
    design = steps.run(
        "write Verilog, streaming", lambda: circuits.write_stream(streamed, folder / "streaming", words, **verilog)
    )
    circuits.write_stream_testbench(design, expected.x, expected.classes)
    return Stream(streamed, design)


def forget(*written: Path) -> None:
    """Removes the Verilog that an earlier export left in folders; other files stay."""
    for folder in written:
        for file in [*folder.glob("*.v"), *folder.glob("*.hex")]:
            file.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            shutil.rmtree(folder)


def streaming_cost(stream: Stream, levels: int, steps: Steps) -> dict[str, Any]:
    """The estimate, by part, and the clock cycles that an image takes."""
    network, design = stream
    estimate = partial(circuits.estimate_stream_cost, network, design.words, levels, design.head)
    cost = steps.run("estimate, streaming", estimate)
    print(f"streaming: {cost}, a pixel each clock, {design.pixels} cycles an image")
    return {"luts": cost.total} | vars(cost) | {"cycles": design.pixels, "in words": str(cost)}
