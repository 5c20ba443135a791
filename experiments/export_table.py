"""What an export came to, as a table."""

from pathlib import Path
from typing import Any


def write_table(report: dict[str, Any], path: Path) -> None:
    """Writes the agreement and speed of each back end, and the cost in LUTs, as Markdown."""
    lines = [f"**{report['dataset']}**: {report['accuracy']:.2%} of the test set right.", ""]
    lines += ["| back end | samples | mismatches | samples/s | seconds |", "|---|--:|--:|--:|--:|"]
    lines.append(_row("`model.eval()`", report["model"], ""))
    checks = [check for check in report["checks"].values() if check]
    lines += [_row(check["name"], check, str(check["mismatches"])) for check in checks]
    lines += ["", "| LUTs | nodes | core | encoder | depth |", "|---|--:|--:|--:|--:|"]
    for when in ("before", "after"):
        cost = report["cost"][when]
        lines.append(f"| {when} simplification, estimate | {report['simplification'][f'luts_{when}']} | {cost['core']} "
                     f"| {cost['encoder']} | {cost['depth']} |")  # fmt: skip
        if report.get("yosys"):
            core, encoder = (report["yosys"][when][part] for part in ("core", "encoder"))
            lines.append(f"| {when} simplification, Yosys | | {core['luts']} | {encoder['luts']} | {core['depth']} |")
    lines += ["", f"Simplified in {report['simplification']['seconds']:.1f} s; latency {report['latency']} cycles."]
    if report.get("proof"):
        lines.append(f"Netlist proven equivalent in {report['proof']['seconds']:.1f} s.")
    if report.get("placement"):
        lines.append(f"Placed on an ECP5-85: {report['placement']['megahertz']:.0f} MHz, latency "
                     f"{report['placement']['nanoseconds']:.0f} ns.")  # fmt: skip
    path.write_text("\n".join([*lines, ""]))


def _row(name: str, check: dict[str, Any], mismatches: str) -> str:
    speed = check["samples"] / check["seconds"]
    return f"| {name} | {check['samples']} | {mismatches} | {speed:,.0f} | {check['seconds']:.2f} |"
