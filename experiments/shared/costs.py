"""What a network costs in hardware, all of it, by the fast estimate: the one number that is shown."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from difflut.circuits import Circuit, Cost, estimate_cost, input_words, simplify
from difflut.models import LUTNetwork

QUICKLY_SIMPLIFIED = 100_000  # LUTs, which takes some seconds
# The parts of which `luts` is the sum.
PARTS = ("luts_tables", "luts_popcount", "luts_argmax", "luts_encoder")
REGISTERS = ("flip_flops", "shift_registers")  # of a design with registers after all stages
CHAINED = "luts_chains"  # all of it where votes are counted on carry chains, as Xilinx devices have them
SIZES = ("tables", "lookups", "bits")
USED = ("train_seconds", "cpu_seconds", "peak_bytes")  # by a training, all its processes together


def size_of(model: LUTNetwork) -> dict[str, int]:
    """The size of a network: its tables, shared ones once; look-ups for a sample; bits of tables and wiring."""
    return {"tables": model.num_luts, "lookups": model.num_lookups, "bits": model.num_bits}


def estimated_cost(circuit: Circuit, x: Tensor, largest: int = QUICKLY_SIMPLIFIED) -> dict[str, int]:
    """The cost of a circuit on inputs like `x`, for a result.json: that of any device, and on carry chains.

    Args:
        largest: With more LUTs a circuit is counted as trained; `simplified` says whether it was simplified.
    """
    is_small = circuit.num_luts <= largest
    if is_small:
        circuit, _ = simplify(circuit)
    words = input_words(circuit, x.dtype == torch.uint8)
    chained = estimate_cost(circuit, words, head="chains").total
    return named(estimate_cost(circuit, words)) | {CHAINED: chained, "simplified": is_small}


def named(cost: Cost) -> dict[str, int]:
    """A cost by the names that it has in result.json."""
    return {"luts": cost.total} | {name: getattr(cost, name.removeprefix("luts_")) for name in PARTS + REGISTERS}


def in_words(scores: Mapping[str, Any]) -> str:
    """The number of LUTs, in all and in each part, carry chains, and whether the circuit was not simplified before."""
    if "luts" not in scores:
        return "cost in hardware unknown"
    parts = ", ".join(f"{name.removeprefix('luts_')} {scores[name]:,}" for name in PARTS)
    carries = f", {scores['carries']:,} CARRY4" if scores.get("carries") else ""
    return f"{scores['luts']:,} LUT6{'' if scores.get('simplified', True) else ' as trained'} ({parts}){carries}"
