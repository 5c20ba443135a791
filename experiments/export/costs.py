"""What an exported circuit costs: estimated, counted by Yosys, proven, placed."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from difflut import circuits
from difflut.circuits import Circuit, Cost, Design, StreamDesign
from experiments.export.steps import Steps
from experiments.shared.costs import named

STREAM = "stream"  # the part of a streaming design that is placed
PARTS = ("core", "circuit", STREAM)


def find_costs(
    original: Circuit,
    circuit: Circuit,
    estimate: Callable[[Circuit], Cost],
    design: Design | None,
    stream: StreamDesign | None,
    yosys: bool,
    prove: bool,
    place: str | None,
    families: Sequence[str],
    steps: Steps,
) -> dict[str, Any]:
    """The estimate and what else is wanted; None is what could not be done.

    Args:
        original: The circuit before simplification.
        circuit: The circuit after it.
        estimate: What a circuit costs.
        design: Its Verilog; without it nothing is counted, proven or placed but the stream.
        stream: Its streaming Verilog, which is placed as the part "stream".
        yosys: Whether LUTs are counted.
        prove: Whether the netlist is proven equal.
        place: The part to place.
        families: Families of devices on which the design's cells are counted.
    """
    versions = {"before simplification": original}
    if circuit is not original:
        versions["after simplification"] = circuit
    found: dict[str, Any] = {"estimate": steps.attempt("estimate", partial(_estimates, versions, estimate, steps))}
    if design and yosys:
        found["Yosys"] = steps.attempt("Yosys", partial(_counts, versions, design, steps), "export.yosys")
    if design and prove:
        found["proof"] = steps.attempt("proof", partial(_prove, circuit, design, steps), "export.prove")
    if design and families:
        found["families"] = _count_cells(design, families, steps)
    placed = stream if place == STREAM else design
    if placed and place:
        found["placement"] = steps.attempt("placement", partial(_place, placed, place, steps), "export.place")
    return found


def final(estimate: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The cost of what was written: of the simplified circuit, where it was simplified."""
    return list(estimate.values())[-1] | {"simplified": len(estimate) > 1}


def _estimates(
    versions: Mapping[str, Circuit], estimate: Callable[[Circuit], Cost], steps: Steps
) -> dict[str, dict[str, Any]]:
    return {when: _estimate(when, version, estimate, steps) for when, version in versions.items()}


def _estimate(when: str, circuit: Circuit, estimate: Callable[[Circuit], Cost], steps: Steps) -> dict[str, Any]:
    cost = steps.run(f"estimate, {when}", partial(estimate, circuit))
    print(cost)
    return named(cost) | {"core": cost.core, "depth": cost.depth, "carries": cost.carries}


def _counts(versions: Mapping[str, Circuit], design: Design, steps: Steps) -> dict[str, Any]:
    return {when: _count(when, version, design, steps) for when, version in versions.items()}


def _count(when: str, circuit: Circuit, written: Design, steps: Steps) -> dict[str, int]:
    """LUTs and depth of core and encoder, without registers."""
    with tempfile.TemporaryDirectory() as folder:
        design = circuits.write_verilog(circuit, folder, written.words, head=written.head)
        parts = ("core", "encoder")
        core, encoder = steps.run(f"Yosys, {when}", lambda: [circuits.synthesize(design, part) for part in parts])
    carries = f", {core.carries:,} CARRY4" * (core.carries > 0)
    print(f"{core.luts + encoder.luts:,} LUT6{carries}: core {core.luts:,}, depth {core.depth}; "
          f"encoder {encoder.luts:,}, depth {encoder.depth}")  # fmt: skip
    parts_cost = {"core": core.luts, "depth": core.depth, "luts_encoder": encoder.luts, "encoder_depth": encoder.depth}
    return {"luts": core.luts + encoder.luts} | parts_cost | {"carries": core.carries}


def _prove(circuit: Circuit, design: Design, steps: Steps) -> dict[str, bool]:
    equivalent = steps.run("proof", lambda: circuits.prove(circuit, design.words, head=design.head))
    print(f"netlist and circuit are {'' if equivalent else 'not '}equivalent")
    return {"equivalent": equivalent}


def _count_cells(design: Design, families: Sequence[str], steps: Steps) -> dict[str, dict[str, int]]:
    """Cells of the whole design, registers included, by family."""
    found = {}
    for family in families:
        name = f"Yosys, {family}"
        count = partial(steps.run, name, partial(circuits.family_cost, design, "circuit", family))
        if cost := steps.attempt(name, count, "export.families"):
            print(f"{family}: {cost}")
            found[family] = vars(cost)
    return found


def _place(design: Design | StreamDesign, part: str, steps: Steps) -> dict[str, Any]:
    placement = steps.run("placement", lambda: circuits.place(design, part))
    after = "an image every" if part == STREAM else "latency"
    timing = f"{placement.megahertz:.0f} MHz, {after} {placement.nanoseconds:,.0f} ns"
    print(f"{part} on an ECP5-85: {timing}")
    return vars(placement) | {"part": part, "timing": timing}
