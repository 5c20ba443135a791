"""LUTs of the same table whose signals advance by the same steps, as those of a convolution along a row of pixels."""

from dataclasses import dataclass

import numpy as np

from difflut.circuits.circuit import Circuit


@dataclass(frozen=True)
class Runs:
    """The LUTs of a circuit, in runs: LUT `i` of a run is `first + i * step`, and reads
    `pins + i * pin_steps`.

    Runs are ordered by layer, then by table.

    Attributes:
        first: The first LUT of each run: `(runs,)`.
        step: From a LUT to the next: `(runs,)`; 0 in a run of one.
        count: LUTs of each run: `(runs,)`.
        pins: The signals that the first LUT reads: `(runs, n)`, -1 is no input.
        pin_steps: From a LUT's signals to those of the next: `(runs, n)`.
    """

    first: np.ndarray
    step: np.ndarray
    count: np.ndarray
    pins: np.ndarray
    pin_steps: np.ndarray


def find_runs(circuit: Circuit) -> Runs:
    """Every LUT is in one run; three in a row with equal steps are one, as far as it goes."""
    order = np.lexsort((circuit.table_of, circuit.layers))
    wiring, layers, table_of = circuit.wiring[order].astype(np.int64), circuit.layers[order], circuit.table_of[order]
    # Step i leads from LUT i to LUT i + 1; those of a stretch are equal, and long stretches are runs.
    steps = np.column_stack([np.diff(order), np.diff(wiring, axis=0)])
    alike = (np.diff(layers) == 0) & (np.diff(table_of) == 0) & ((wiring[1:] < 0) == (wiring[:-1] < 0)).all(1)
    again = alike[1:] & alike[:-1] & (steps[1:] == steps[:-1]).all(1)
    stretch = np.cumsum(np.append(True, ~again))[: len(steps)]
    long = np.bincount(stretch)[stretch] > 1
    run_of = np.zeros(len(order), np.int64)
    run_of[:-1][long] = stretch[long]
    run_of[1:][long] = stretch[long]  # a LUT between two stretches is of the first
    starts = np.append(True, (run_of[1:] != run_of[:-1]) | (run_of[1:] == 0))[: len(order)]
    first = np.flatnonzero(starts)
    count = np.diff(first, append=len(order))
    steps = np.pad(steps, ((0, 1), (0, 0)))[first] * (count > 1)[:, None]
    return Runs(order[first], steps[:, 0], count, wiring[first], steps[:, 1:])
