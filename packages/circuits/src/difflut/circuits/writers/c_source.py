"""A circuit as one C file without dependencies, which evaluates 64 samples or more with each operation."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.stencils import find_stencils
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.rewrite import compact
from difflut.circuits.passes.split import LUT_SIZE, split
from difflut.circuits.writers.names import check_prefix

TEMPLATE = Path(__file__).with_name("circuit.c.in")


def write_c(circuit: Circuit, path: str | os.PathLike[str], prefix: str = "") -> Path:
    """Writes a self-contained C file; its header comment documents inputs, outputs and their order.

    The comment also says how to compile it; `CompiledCircuit` does that and loads it. Tables and wiring are data, and
    what a convolution does at many places is written once. The file is C99 and C++ as well.

    Args:
        prefix: Beginning of the names of the two functions, so that several circuits can be linked into one program.

    Raises:
        ValueError: No name can begin with the prefix.
    """
    check_prefix(prefix)
    circuit = compact(split(circuit, LUT_SIZE))
    encoder, order = encoder_bits(circuit), np.argsort(circuit.groups, kind="stable")
    starts = np.cumsum([0, *map(len, encoder.terms)]).tolist()
    members = np.bincount(circuit.groups, minlength=circuit.num_classes)
    values = {
        "PREFIX": prefix,
        "FEATURES": circuit.sample_size,
        "CLASSES": circuit.num_classes,
        "LUTS": circuit.num_luts,
        "TAU": circuit.tau,
        "SIGNALS": max(circuit.num_signals, 1),
        "COMPARISONS": len(encoder.comparisons),
        "BITS": len(encoder.signals),
        "PLANES": int(members.max(initial=1)).bit_length(),
        **_sums(circuit, encoder.comparisons[:, 0]),
        "THRESHOLD": _array(map(_float, circuit.thresholds[tuple(encoder.comparisons.T)].tolist())),
        "BIT": _array(encoder.signals.tolist()),
        "TERM_START": _array(starts),
        "TERM": _array(term for terms in encoder.terms for term in terms),
        "INVERTED": _array(encoder.inverted.astype(int).tolist()),
        "OUTPUT_START": _array(np.cumsum([0, *members]).tolist()),
        "OUTPUT": _array(circuit.outputs[order].tolist()),
        "OUTPUT_INVERTED": _array(circuit.inverted[order].astype(int).tolist()),
        "BIAS": _array(circuit.bias.tolist()),
        **_evaluation(circuit),
    }
    source = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        source = source.replace(f"@{name}@", str(value))
    path = Path(path)
    path.write_text(source, encoding="utf-8")
    return path


def _sums(circuit: Circuit, features: np.ndarray) -> dict[str, object]:
    """The sums that are made of pixels, and what each comparison compares: an input, or a value."""
    if circuit.sums is None:
        return dict.fromkeys(("SUM_START", "SUM_SOURCE", "SUM_WEIGHT"), "{0}") | {
            "SUMS": 0, "MEANING": "Each is compared as a float; NaN exceeds no threshold.",
            "FEATURE": _array(features.tolist()),
        }  # fmt: skip
    sums = circuit.sums
    added = sums.sources >= 0
    return {
        "SUMS": sums.num_sums,
        "MEANING": "Pixels, whole numbers from 0 to 255; others are rounded up and held within, NaN is 0.",
        "SUM_START": _array(np.cumsum([0, *added.sum(1)]).tolist()),
        "SUM_SOURCE": _array(sums.sources[added].tolist()),
        "SUM_WEIGHT": _array(sums.weights[added].tolist()),
        "FEATURE": _array(sums.features[features].tolist()),
    }


def _evaluation(circuit: Circuit) -> dict[str, object]:
    """The tables, and where each is looked up, as the file has them."""
    stencils = find_stencils(circuit)
    wiring = circuit.wiring[stencils.first]
    packed = np.packbits(circuit.tables, axis=1, bitorder="little")
    tables = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view("<u8").reshape(-1)
    numbers = [
        circuit.table_of[stencils.first],
        stencils.list_of,
        circuit.num_inputs + stencils.first,
        (wiring >= 0).sum(1),
    ]
    rows = zip(_rows(np.column_stack(numbers)), _rows(wiring), strict=True)
    places = np.column_stack([stencils.reads, stencils.writes])
    return {
        "STENCILS": len(stencils.first),
        "PINS": max(circuit.wiring.shape[1], 1),
        "TABLE": _array(map("0x{:x}".format, tables.tolist())),
        "STENCIL": _array((f"{{{row}, {{{pins}}}}}" for row, pins in rows), 1),
        "PLACE": _array(map("{{{}}}".format, _rows(places)), 8),
        "PLACE_START": _array(stencils.start.tolist()),
    }


def _rows(numbers: np.ndarray) -> Iterable[str]:
    return (", ".join(map(str, row)) for row in numbers.tolist())


def _array(values: Iterable[object], columns: int = 16) -> str:
    """An initializer; C has no empty ones."""
    texts = list(map(str, values)) or ["0"]
    return "{\n    " + ",\n    ".join(", ".join(texts[i : i + columns]) for i in range(0, len(texts), columns)) + "}"


def _float(value: float) -> str:
    return f"{value.hex()}f" if np.isfinite(value) else f"{'-' if value < 0 else ''}(1e30f * 1e30f)"
