"""The parts of a design, instances one behind the other, with registers between them."""

from dataclasses import dataclass

from difflut.circuits.writers.modules import CLOCK, module, vector


@dataclass(frozen=True)
class Part:
    """A module of the design.

    Attributes:
        name: Name of the module.
        reads: Its input port.
        gives: Its output port.
        width: Bits of the output.
        latency: Clock cycles that it takes, a register behind it included.
        registered: Whether there is one.
    """

    name: str
    reads: str
    gives: str
    width: int
    latency: int
    registered: bool

    def instance(self, source: str) -> list[str]:
        """Statements that make `NAME_y` of the signal `source`."""
        inner = f"{self.name}_next" if self.registered else f"{self.name}_y"
        clock = ".clk(clk), " if self.latency > self.registered else ""
        lines = [
            f"wire [{max(self.width, 1) - 1}:0] {inner};",
            f"{self.name} {self.name}_ ({clock}.{self.reads}({source}), .{self.gives}({inner}));",
        ]
        return lines + register(f"{self.name}_y", inner, self.width) * self.registered


def register(name: str, source: str, width: int) -> list[str]:
    return [f"reg [{max(width, 1) - 1}:0] {name};", f"always @(posedge clk) {name} <= {source};"]


def core_module(parts: list[Part], inputs: int, counts: bool) -> tuple[str, int]:
    """The module "core", one part behind the other, and its latency; the counts wait for the class."""
    lines, source = [], "s"
    for part in parts:
        lines += part.instance(source)
        source = f"{part.name}_y"
    latency, (sums, best) = sum(part.latency for part in parts), parts[-2:]
    lines.append("assign winner = argmax_y;")
    if counts:
        waiting = "group_sum_y"
        for cycle in range(1, best.latency + 1):
            lines += register(f"counts{cycle}", waiting, sums.width)
            waiting = f"counts{cycle}"
        lines.append(f"assign counts = {waiting};")
    ports = [vector("input", inputs, "s"), *result_ports(sums.width * counts, best.width)]
    return module("core", [CLOCK] * (latency > 0) + ports, lines), latency


def result_ports(counts: int, label: int) -> list[str]:
    """The output ports of a design, given the bits of all counts, 0 where they are no outputs, and of the class."""
    return [vector("output", counts, "counts")] * (counts > 0) + [vector("output", label, "winner")]
