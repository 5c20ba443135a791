"""What a design comes to on devices of other families, by Yosys' synthesis for them."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from difflut.circuits.tools.synthesis import mapping, read_primitives, run_yosys
from difflut.circuits.writers.verilog import Written

# Nothing is placed, so there are no buffers at the pins.
FAMILIES = {
    "ecp5": "synth_ecp5",
    "gatemate": "synth_gatemate -noiopad",
    "gowin": "synth_gowin -noiopads",
    "ice40": "synth_ice40",
    "xilinx": "synth_xilinx -family xc7 -flatten -noiopad",
}
# The names of cells, of whatever family.
KINDS = {
    "luts": r"(SB_|CC_)?LUT\d|LUT6_2|CC_L2T\d|INV",
    "multiplexers": r"PFUMX|L6MUX21|MUX2_LUT\d|MUXF\d|CC_MX\d",
    "flip_flops": r"TRELLIS_FF|SB_DFF\w*|CC_DFF|DFF\w*|FD[CPRS]E",
    "shift_registers": r"SRL\w+",
    "carries": r"CARRY4",
    "memories": r"RAM\d\w+|TRELLIS_DPR16X4|RAM16SDP\d",
    "blocks": r"RAMB\w+|DP16KD|SB_RAM\w+|CC_BRAM\w+|S?DPX?9?B|pROM\w*",
}


@dataclass(frozen=True)
class FamilyCost:
    """Cells of a design on a family of devices.

    Attributes:
        luts: Of as many inputs as the family has: six on Xilinx devices, where one may have two outputs, else four.
        multiplexers: Those beside the LUTs that join them to wider ones.
        flip_flops: Registers of one bit.
        shift_registers: Chains of registers in a LUT, which only Xilinx devices have; not among `luts`.
        carries: CARRY4 of Xilinx devices, with a head that has carry chains; elsewhere these come to LUTs.
        memories: Cells of memory made of LUTs, which are not among `luts`.
        blocks: Blocks of memory.
    """

    luts: int
    multiplexers: int
    flip_flops: int
    shift_registers: int
    carries: int
    memories: int
    blocks: int

    def __str__(self) -> str:
        parts = {name.replace("_", " "): count for name, count in vars(self).items() if count}
        return ", ".join(f"{count:,} {name.replace('luts', 'LUTs')}" for name, count in parts.items())


def family_cost(design: Written, part: str, family: str) -> FamilyCost:
    """Counts the cells of a part of the design, such as "core", "circuit" or "stream", on a family.

    Raises:
        ValueError: The family is unknown.
        FileNotFoundError: There is no Yosys.
        RuntimeError: It fails.
        TimeoutError: It takes longer than ten minutes.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r} must be one of {', '.join(FAMILIES)}")
    with tempfile.TemporaryDirectory() as folder:
        script = f"{FAMILIES[family]} -top {design.prefix}{part}\ntee -q -o {folder}/report.json stat -json\n"
        run_yosys((read_primitives(design) if family == "xilinx" else mapping(design, part)) + script)
        report = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    cells = report["design"]["num_cells_by_type"]
    return FamilyCost(
        **{
            kind: sum(count for name, count in cells.items() if re.fullmatch(names, name))
            for kind, names in KINDS.items()
        }
    )
