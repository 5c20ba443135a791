"""What a network costs in hardware, all of it, by the fast estimate: the one number that is shown."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from difflut.circuits import Circuit, Cost, InputWords, estimate_cost, fixed_point_words, pixel_words, simplify
from difflut.models import LUTNetwork

QUICKLY_SIMPLIFIED = 10_000  # tables that are simplified within seconds
# The parts of which `luts` is the sum.
PARTS = ("luts_tables", "luts_popcount", "luts_argmax", "luts_encoder")
REGISTERS = ("flip_flops", "shift_registers")  # of a design with registers after all stages


def estimated_cost(model: LUTNetwork, x: Tensor) -> dict[str, int]:
    """The cost of a network on inputs like `x`, for its result.json; large ones are counted as trained."""
    circuit = Circuit.from_model(model.cpu())
    if model.num_luts <= QUICKLY_SIMPLIFIED:
        circuit, _ = simplify(circuit)
    return named(estimate_cost(circuit, input_words(circuit, x)))


def named(cost: Cost) -> dict[str, int]:
    """A cost by the names that it has in result.json."""
    return {"luts": cost.total} | {name: getattr(cost, name.removeprefix("luts_")) for name in PARTS + REGISTERS}


def in_words(scores: Mapping[str, Any]) -> str:
    """The number of LUTs, in all and in each part."""
    if "luts" not in scores:
        return "cost in hardware unknown"
    parts = ", ".join(f"{name.removeprefix('luts_')} {scores[name]:,}" for name in PARTS)
    return f"{scores['luts']:,} LUT6 ({parts})"


def input_words(circuit: Circuit, x: Tensor) -> InputWords:
    """The form in which hardware takes inputs like `x`: bytes as pixels, other numbers in fixed point."""
    return pixel_words(circuit) if x.dtype == torch.uint8 else fixed_point_words(circuit)
