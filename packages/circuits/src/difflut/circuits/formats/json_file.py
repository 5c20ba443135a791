"""A circuit as one JSON file, which says itself how it is read."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from difflut.circuits.arithmetic.words import InputWords
from difflut.circuits.circuit import Circuit
from difflut.registry import register_format

VERSION = 1
MEANING = [
    "A value's level is the number of thresholds of its feature that it exceeds (>), in float32; NaN has level 0.",
    "codebook[level] has the bits of a level; character j is bit j.",
    "Signals are numbered: first the bits of feature 0, then those of feature 1 and so on, then LUTs in their order.",
    "A LUT reads the signals in inputs, the first of which is the least significant bit of its address; character i of "
    "its table is its value at address i. It reads only signals before its own.",
    "Each of votes adds one to its class where its signal is 1 or, where it is inverted, 0. Counts begin at bias.",
    "The class is the one with the highest count, of equal counts the lowest. Logits are counts divided by tau.",
]


SUMS = [
    "A sample is pixels, whole numbers from 0 to 255. Values are numbered: first the pixels, then the sums in their "
    "order. A sum is the values that it adds, each times its weight; all are before it. The features, which are "
    "compared with thresholds, are the values listed in compared.",
]


@register_format("json")
def write_json(circuit: Circuit, path: str | os.PathLike[str], words: InputWords | None = None) -> Path:
    """Writes thresholds, LUTs and votes with the rules by which they are read.

    Thresholds are written so that they are the same float32 when read. Inputs that a LUT does not have are left out.

    Args:
        words: Not needed; values are compared as floats.

    Raises:
        ValueError: A threshold is infinite, which JSON has no number for.
    """
    if not np.isfinite(circuit.thresholds).all():
        raise ValueError("a threshold is infinite, and JSON has no number for it; fit the encoder to finite values")
    content = {
        "format": "difflut circuit",
        "version": VERSION,
        "meaning": MEANING if circuit.sums is None else SUMS + MEANING,
        "features": circuit.num_features,
        "classes": circuit.num_classes,
        "tau": circuit.tau,
        **_sums(circuit),
        "thresholds": circuit.thresholds.tolist(),
        "codebook": [_characters(bits) for bits in circuit.codebook],
        "luts": [_lut(circuit, lut) for lut in range(circuit.num_luts)],
        "votes": [
            {"signal": signal, "inverted": inverted, "class": group}
            for signal, inverted, group in zip(
                circuit.outputs.tolist(), circuit.inverted.tolist(), circuit.groups.tolist(), strict=True
            )
        ],
        "bias": circuit.bias.tolist(),
    }
    path = Path(path)
    path.write_text(_in_lines(content), encoding="utf-8")
    return path


def _sums(circuit: Circuit) -> dict[str, Any]:
    if circuit.sums is None:
        return {}
    rows = zip(circuit.sums.sources, circuit.sums.weights, strict=True)
    added = [
        {"adds": sources[sources >= 0].tolist(), "weights": weights[sources >= 0].tolist()} for sources, weights in rows
    ]
    return {"pixels": circuit.sums.inputs, "sums": added, "compared": circuit.sums.features.tolist()}


def _lut(circuit: Circuit, lut: int) -> dict[str, Any]:
    wiring = circuit.wiring[lut]
    return {"inputs": wiring[wiring >= 0].tolist(), "table": _characters(circuit.connected_table(lut))}


def _characters(bits: np.ndarray) -> str:
    return "".join("01"[bit] for bit in bits.astype(int).tolist())


def _in_lines(content: dict[str, Any]) -> str:
    """JSON with a line for each entry of a list, so that it can be read and compared by line."""
    members = []
    for name, value in content.items():
        if isinstance(value, list):
            entries = ",\n".join(f"  {json.dumps(entry)}" for entry in value)
            text = f"[\n{entries}\n ]" if value else "[]"
        else:
            text = json.dumps(value)
        members.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(members) + "\n}\n"
