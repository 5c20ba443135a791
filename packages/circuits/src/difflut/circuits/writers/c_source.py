"""A circuit as one C99 file without dependencies, which evaluates 64 samples or more with each operation."""

import os
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.arithmetic.runs import Runs, find_runs
from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.rewrite import depends

FUNCTION_SIZE = 50
SHORTEST_LOOP = 4  # LUTs; fewer are written one by one
TEMPLATE = Path(__file__).with_name("circuit.c.in")


def write_c(circuit: Circuit, path: str | os.PathLike[str]) -> Path:
    """Writes a self-contained C file; its header comment documents inputs, outputs and their order.

    The comment also says how to compile it; `CompiledCircuit` does that and loads it. LUTs that share a table and whose
    signals advance evenly, as in a convolution, are one function with a loop.
    """
    encoder = encoder_bits(circuit)
    starts = np.cumsum([0, *map(len, encoder.terms)]).tolist()
    order = np.argsort(circuit.groups, kind="stable")
    members = np.bincount(circuit.groups, minlength=circuit.num_classes)
    evaluation = _Evaluation(circuit)
    values = {
        "FEATURES": circuit.num_features,
        "CLASSES": circuit.num_classes,
        "LUTS": circuit.num_luts,
        "TAU": circuit.tau,
        "SIGNALS": max(circuit.num_signals, 1),
        "COMPARISONS": len(encoder.comparisons),
        "BITS": len(encoder.signals),
        "PLANES": int(members.max(initial=1)).bit_length(),
        "FEATURE": _array(encoder.comparisons[:, 0].tolist()),
        "THRESHOLD": _array(map(_float, circuit.thresholds[tuple(encoder.comparisons.T)].tolist())),
        "BIT": _array(encoder.signals.tolist()),
        "TERM_START": _array(starts),
        "TERM": _array(term for terms in encoder.terms for term in terms),
        "INVERTED": _array(encoder.inverted.astype(int).tolist()),
        "OUTPUT_START": _array(np.cumsum([0, *members]).tolist()),
        "OUTPUT": _array(circuit.outputs[order].tolist()),
        "OUTPUT_INVERTED": _array(circuit.inverted[order].astype(int).tolist()),
        "BIAS": _array(circuit.bias.tolist()),
        "RUNS": _array(evaluation.numbers),
        "LAYERS": "\n".join(evaluation.functions),
        "CALLS": "\n".join(f"    {call};" for call in evaluation.calls),
    }
    source = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        source = source.replace(f"@{name}@", str(value))
    path = Path(path)
    path.write_text(source, encoding="utf-8")
    return path


def _array(values: Iterable[object]) -> str:
    """An initializer; C has no empty ones."""
    texts = list(map(str, values)) or ["0"]
    return "{\n    " + ",\n    ".join(", ".join(texts[i : i + 16]) for i in range(0, len(texts), 16)) + "}"


def _float(value: float) -> str:
    return f"{value.hex()}f" if np.isfinite(value) else f"{'-' if value < 0 else ''}(1e30f * 1e30f)"


class _Evaluation:
    """What evaluates the LUTs, layer after layer: a loop for each table with long runs, and the other LUTs one by one.

    Attributes:
        functions: The text of each.
        numbers: What loops go through: of each run the first output, the step to the next and how many there are; then
            of each pin the first signal and its step.
        calls: The statements that call them, in order.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.functions: list[str] = []
        self.numbers: list[int] = []
        self.calls: list[str] = []
        self._circuit, self._looped = circuit, set[int]()
        runs = find_runs(circuit)
        layers, tables = circuit.layers[runs.first], circuit.table_of[runs.first]
        long = runs.count >= SHORTEST_LOOP
        pins = np.stack([np.maximum(runs.pins, 0), runs.pin_steps], axis=2).reshape(
            len(long), 2 * circuit.wiring.shape[1]
        )
        rows = np.column_stack([circuit.num_inputs + runs.first, runs.step, runs.count, pins])
        for luts in circuit.layer_slices():
            here = layers == circuit.layers[luts.start]
            for table, loops in groupby(np.flatnonzero(here & long).tolist(), key=lambda run: int(tables[run])):
                self._loop(table, rows[list(loops)])
            self._one_by_one(_members(runs, np.flatnonzero(here & ~long)))

    def _loop(self, table: int, rows: np.ndarray) -> None:
        if table not in self._looped:
            self._looped.add(table)
            self.functions.append(self._loop_function(table))
        self.calls.append(f"table{table}(s, RUNS + {len(self.numbers)}, {len(rows)})")
        self.numbers += rows.ravel().tolist()

    def _loop_function(self, table: int) -> str:
        entries = self._circuit.tables[table]
        pins = np.flatnonzero(depends(entries[None])[0]).tolist()
        names = [f"*x{pin}" for pin in range(self._circuit.wiring.shape[1])]
        return "\n".join([
            f"static void table{table}(W *s, const int32_t *run, size_t runs)",
            "{",
            f"    for (; runs; runs--, run += {3 + 2 * len(names)}) {{",
            "        W *y = s + run[0];",
            *(f"        const W *x{pin} = s + run[{3 + 2 * pin}];" for pin in pins),
            "        for (int32_t left = run[2]; left; left--) {",
            *(f"    {line}" for line in _lut(entries, names, "*y")),
            "            y += run[1];",
            *(f"            x{pin} += run[{4 + 2 * pin}];" for pin in pins),
            "        }",
            "    }",
            "}",
            "",
        ])  # fmt: skip

    def _one_by_one(self, luts: np.ndarray) -> None:
        circuit = self._circuit
        for start in range(0, len(luts), FUNCTION_SIZE):
            name, lines = f"luts{len(self.calls)}", []
            for lut in luts[start : start + FUNCTION_SIZE].tolist():
                names = [f"s[{pin}]" for pin in circuit.wiring[lut].tolist()]
                table = circuit.tables[circuit.table_of[lut]]
                lines += ["    {", *_lut(table, names, f"s[{circuit.num_inputs + lut}]"), "    }"]
            self.functions.append("\n".join([f"static void {name}(W *s)", "{", *lines, "}", ""]))
            self.calls.append(f"{name}(s)")


def _members(runs: Runs, chosen: np.ndarray) -> np.ndarray:
    """The LUTs of some runs, ascending."""
    count = runs.count[chosen]
    index = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.sort(np.repeat(runs.first[chosen], count) + index * np.repeat(runs.step[chosen], count))


def _lut(table: np.ndarray, pins: list[str], output: str) -> list[str]:
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
            value = _mux(pins[len(entries).bit_length() - 2], low, high, build)
            lines.append(f"        const W {names[key]} = {value};")
        return names[key]

    lines.append(f"        {output} = {build(table)};")
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
