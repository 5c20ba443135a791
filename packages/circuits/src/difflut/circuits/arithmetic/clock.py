"""Registers for a clock: how long paths through tables take, and which stages of a design registers have to follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.encoding import add_encoder
from difflut.circuits.arithmetic.features import FeatureWords
from difflut.circuits.arithmetic.head import add_counts, add_tournament, has_chains
from difflut.circuits.arithmetic.tables import Tables, plain
from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.split import split


@dataclass(frozen=True)
class Delays:
    """What a path from register to register takes, in nanoseconds; wires are longer in larger designs.

    Attributes:
        register: Of the registers themselves.
        wire: Of the longest wire, times the third root of the number of LUTs.
        table: Of each table of six inputs and the wire to it.
    """

    register: float
    wire: float
    table: float

    def period(self, levels: int, luts: int) -> float:
        """Nanoseconds of a path through so many levels of tables in a design of so many LUTs."""
        return self.register + self.wire * luts ** (1 / 3) + self.table * levels


# Fitted to designs that nextpnr placed and routed on an ECP5-85 of speed grade 8: `docs/hardware.md` compares them.
DELAYS = {"ecp5": Delays(register=0.8, wire=0.13, table=0.8)}


@dataclass(frozen=True)
class Depths:
    """Levels of tables of each stage of a design, in the order of the stages.

    Attributes:
        encoder: Those of the encoder, 0 where it is wires.
        layers: Number of layers; each is one level.
        group_sum: Those that count votes.
        argmax: Those that compare the counts.
    """

    encoder: int
    layers: int
    group_sum: int
    argmax: int

    @property
    def total(self) -> int:
        """All, one stage behind the other."""
        return self.encoder + self.layers + self.group_sum + self.argmax


def depths(circuit: Circuit, words: InputWords, head: str = "tables") -> Depths:
    """Those of the design that `write_verilog` writes."""
    circuit, chains = split(circuit), has_chains(head)
    compared, counters, matches = Tables("e"), Tables("p", chains), Tables("m", chains)
    names = [f"x{bit}" for bit in range(circuit.sample_size * words.width)]
    encoded = add_encoder(compared, encoder_bits(circuit), words, FeatureWords(compared, circuit, words, names))
    counts = add_counts(counters, circuit, {signal: f"s{signal}" for signal in circuit.outputs.tolist()})
    digits = [digit for count in counts for digit in count]
    widths = [[f"c{row}_{place}" for place in range(len(count))] for row, count in enumerate(counts)]
    winner = add_tournament(matches, widths)
    ends = ((compared, encoded), (counters, digits), (matches, winner))
    encoder, group_sum, argmax = (_deepest(tables, outputs) for tables, outputs in ends)
    return Depths(encoder, len(circuit.layer_slices()), group_sum, argmax)


def choose_stages(depths: Depths, luts: int, megahertz: float, family: str = "ecp5") -> tuple[list[str], int]:
    """The fewest registers with which a design reaches a clock, by the delays of a family.

    Registers always follow the encoder and the argmax, so that all tables behind the encoder are between registers.

    Args:
        depths: Levels of tables of each stage.
        luts: LUTs of the design.
        megahertz: The clock.
        family: Family of devices.

    Returns:
        The stages that registers follow and the tables on a path between two of those of "compressors" and of
        "tournament": `pipeline` and `levels` of `write_verilog`.

    Raises:
        ValueError: The family is unknown, or one table between registers is too slow.
    """
    if family not in DELAYS:
        raise ValueError(f"family={family!r} must be one of {', '.join(DELAYS)}")
    delays, most = DELAYS[family], max(depths.total, 1)
    levels = sum(1 for _ in takewhile(lambda at: delays.period(at, luts) <= 1000 / megahertz, range(1, most + 1)))
    if not levels:
        fastest = 1000 / delays.period(1, luts)
        raise ValueError(
            f"a clock of {megahertz:g} MHz is faster than one table between registers, about {fastest:.0f} MHz on "
            f"{family} in a design of {luts:,} LUTs; ask for less"
        )
    chosen, before, passed = ["encoder"], "encoder", 0
    layers = [(f"layer{number}", 1, "") for number in range(1, depths.layers + 1)]
    summed, best = ("group_sum", depths.group_sum, "compressors"), ("argmax", depths.argmax, "tournament")
    for name, depth, between in [*layers, summed, best]:
        if passed and passed + depth > levels:
            chosen.append(before)
            passed = 0
        if depth > levels:
            chosen.append(between)
        passed += (depth - 1) % levels + 1 if depth else 0
        before = name
    return [*dict.fromkeys([*chosen, "argmax"])], levels


def _deepest(tables: Tables, outputs: Sequence[str]) -> int:
    return max((tables.depth[plain(name)] for name in outputs), default=0)
