"""A circuit as one C99 file without dependencies, which evaluates 64 samples or more with each operation."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from difflut.circuits.arithmetic.comparisons import chunks, encoder_bits
from difflut.circuits.circuit import Circuit

FUNCTION_SIZE = 50
TEMPLATE = Path(__file__).with_name("circuit.c.in")


def write_c(circuit: Circuit, path: str | os.PathLike) -> Path:
    """Writes a self-contained C file; its header comment documents inputs, outputs and their order.

    The comment also says how to compile it; `CompiledCircuit` does that and loads it.
    """
    encoder, parts = encoder_bits(circuit), chunks(circuit, FUNCTION_SIZE)
    number = {signal: row for row, signal in enumerate(encoder.signals.tolist())}
    number |= {circuit.num_inputs + lut: len(number) + lut for lut in range(circuit.num_luts)}
    starts = np.cumsum([0, *map(len, encoder.terms)]).tolist()
    order = np.argsort(circuit.groups, kind="stable")
    members = np.bincount(circuit.groups, minlength=circuit.num_classes)
    values = {
        "FEATURES": circuit.num_features,
        "CLASSES": circuit.num_classes,
        "LUTS": circuit.num_luts,
        "TAU": circuit.tau,
        "SIGNALS": max(len(number), 1),
        "COMPARISONS": len(encoder.comparisons),
        "BITS": len(encoder.signals),
        "PLANES": int(members.max(initial=1)).bit_length(),
        "FEATURE": _array(encoder.comparisons[:, 0].tolist()),
        "THRESHOLD": _array(map(_float, circuit.thresholds[tuple(encoder.comparisons.T)].tolist())),
        "TERM_START": _array(starts),
        "TERM": _array(term for terms in encoder.terms for term in terms),
        "INVERTED": _array(encoder.inverted.astype(int).tolist()),
        "OUTPUT_START": _array(np.cumsum([0, *members]).tolist()),
        "OUTPUT": _array(number[signal] for signal in circuit.outputs[order].tolist()),
        "OUTPUT_INVERTED": _array(circuit.inverted[order].astype(int).tolist()),
        "BIAS": _array(circuit.bias.tolist()),
        "LAYERS": "\n".join(_function(circuit, part, index, number) for index, part in enumerate(parts)),
        "CALLS": "\n".join(f"    luts{index}(s);" for index in range(len(parts))),
    }
    source = TEMPLATE.read_text()
    for name, value in values.items():
        source = source.replace(f"@{name}@", str(value))
    path = Path(path)
    path.write_text(source)
    return path


def _array(values: Iterable[object]) -> str:
    """An initializer; C has no empty ones."""
    texts = list(map(str, values)) or ["0"]
    return "{\n    " + ",\n    ".join(", ".join(texts[i : i + 16]) for i in range(0, len(texts), 16)) + "}"


def _float(value: float) -> str:
    return f"{value.hex()}f" if np.isfinite(value) else f"{'-' if value < 0 else ''}(1e30f * 1e30f)"


def _function(circuit: Circuit, part: slice, index: int, number: dict[int, int]) -> str:
    lines = [f"static void luts{index}(W *s)", "{"]
    for lut in range(part.start, part.stop):
        pins = [number.get(pin, -1) for pin in circuit.wiring[lut].tolist()]
        lines += [
            "    {",
            *_lut(circuit.tables[circuit.table_of[lut]], pins, number[circuit.num_inputs + lut]),
            "    }",
        ]
    return "\n".join([*lines, "}", ""])


def _lut(table: np.ndarray, pins: list[int], output: int) -> list[str]:
    """Statements that split the table by its highest input first, and build each half that differs once."""
    lines: list[str] = []
    names: dict[bytes, str] = {}

    def build(entries: np.ndarray) -> str:
        if entries.all() or not entries.any():
            return "ONES" if entries[0] else "ZERO"
        low, high = np.split(entries, 2)
        if (low == high).all():
            return build(low)
        key = entries.tobytes()
        if key not in names:
            names[key] = f"t{len(names)}"
            value = _mux(f"s[{pins[len(entries).bit_length() - 2]}]", low, high, build)
            lines.append(f"        const W {names[key]} = {value};")
        return names[key]

    lines.append(f"        s[{output}] = {build(table)};")
    return lines


def _mux(pin: str, low: np.ndarray, high: np.ndarray, build: Callable[[np.ndarray], str]) -> str:
    if not low.any():
        return pin if high.all() else f"{pin} & {build(high)}"
    if low.all():
        return f"~{pin}" if not high.any() else f"~{pin} | {build(high)}"
    if not high.any():
        return f"~{pin} & {build(low)}"
    if high.all():
        return f"{pin} | {build(low)}"
    if (low != high).all():
        return f"{pin} ^ {build(low)}"
    zero, one = build(low), build(high)
    return f"{zero} ^ ({pin} & ({zero} ^ {one}))"
