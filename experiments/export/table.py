"""The results of an export, as a page of tables."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from difflut.circuits import FamilyCost
from experiments.export.costs import STREAM, final
from experiments.shared.costs import in_words
from experiments.shared.files import write_file
from experiments.shared.tables import markdown_table


def write_table(report: dict[str, Any], path: Path) -> None:
    """Writes agreement and speed of each back end, cost in LUTs, the time of each step, and what was left out."""
    lines = [
        headline(report),
        "",
        _table(("back end", "samples", "mismatches", "samples/s"), _back_ends(report)),
        "",
        _table(("LUT6", "all", "encoder", "core", "tables", "depth"), _luts(report)),
        "",
        _table(("step", "seconds"), ((step, f"{seconds:.2f}") for step, seconds in report["seconds"].items())),
        "",
        *(f"- {note}" for note in _notes(report)),
        "",
    ]
    write_file(path, "\n".join(lines))


def headline(report: dict[str, Any]) -> str:
    """Accuracy, all LUTs, the clock of a placed design, the latency, and what all tables take without registers.

    The clock of a streaming design is not among them, since these are of the unrolled one.
    """
    estimate, placement = report["costs"]["estimate"], report["costs"].get("placement")
    parts = [f"{report['dataset']} {report['accuracy']:.2%}"]
    parts += [in_words(final(estimate))] if estimate else []
    parts += [f"{placement['megahertz']:.0f} MHz"] if placement and placement["part"] != STREAM else []
    parts += [f"{report['latency']} cycles"] if report["latency"] else []
    delay = report["unregistered_ns"]
    parts += [f"{delay:.0f} ns without registers (estimate, ECP5)"] if delay else []
    return ", ".join(parts)


def _table(titles: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    return markdown_table(titles, rows, range(1, len(titles)))


def _back_ends(report: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    yield "`model.eval()`", report["samples"], "", f"{report['samples_per_second']:,.0f}"
    for check in filter(None, report["checks"].values()):
        yield check["name"], check["samples"], check["mismatches"], f"{check['samples_per_second']:,.0f}"


def _luts(report: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    simplified, estimate = report["simplification"], report["costs"]["estimate"] or {}
    if simplified:
        tables = {f"{when} simplification": simplified[f"luts_{when}"] for when in ("before", "after")}
    else:
        tables = {when: cost["luts_tables"] for when, cost in estimate.items()}
    for name in ("estimate", "Yosys"):
        for when, cost in (report["costs"].get(name) or {}).items():
            counted = cost["luts"], cost["luts_encoder"], cost["core"]
            yield f"{when}, {name}", *counted, tables.get(when, ""), cost["depth"]


def _notes(report: dict[str, Any]) -> Iterator[str]:
    if report["latency"] is not None:
        cycles = f"latency {report['latency']} cycles, an input each cycle" if report["latency"] else "combinational"
        yield f"Verilog: {cycles}; {report['words']}."
    costs = report["costs"]
    if estimate := costs["estimate"]:
        cost = final(estimate)
        yield (
            f"With registers after all stages: {cost['flip_flops']:,} flip-flops and {cost['shift_registers']:,} shift "
            "registers (a LUT each), by estimate."
        )
    if proof := costs.get("proof"):
        yield f"The netlist is {'' if proof['equivalent'] else 'not '}equivalent to the circuit, by ABC."
    if placement := costs.get("placement"):
        yield (
            f"The {placement['part']} placed and routed on an ECP5-85: {placement['timing']}, "
            f"{placement['luts']:,} LUT4, {placement['flip_flops']:,} flip-flops."
        )
    if streaming := costs.get("streaming"):
        yield f"Streaming, a pixel each clock, {streaming['cycles']:,} cycles an image: {streaming['in words']}."
    for family, cells in (costs.get("families") or {}).items():
        yield f"The whole design on {family}: {FamilyCost(**cells)}."
    for name, reason in report["not_done"].items():
        yield f"{name}: not done: {' '.join(reason.split())}"
