"""Inputs that are read in vain."""

from itertools import combinations

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.passes.rewrite import depends, rewire


def drop_inputs(circuit: Circuit) -> Circuit:
    """Drops inputs that a table does not depend on or reads twice; the rest ascend, so that equal LUTs look equal."""
    n = circuit.wiring.shape[1]
    pins = np.tile(np.arange(n, dtype=np.int8), (circuit.num_luts, 1))
    for pin, other in combinations(range(n), 2):
        twice = (circuit.wiring[:, pin] == circuit.wiring[:, other]) & (circuit.wiring[:, pin] >= 0)
        pins[twice, other] = pins[twice, pin]
    circuit = rewire(circuit, circuit.wiring, 2 * pins)
    wiring = np.where(depends(circuit.tables)[circuit.table_of], circuit.wiring, -1)
    order = np.argsort(np.where(wiring < 0, circuit.num_signals, wiring), axis=1, kind="stable")
    position = np.empty_like(pins)
    np.put_along_axis(position, order, np.arange(n, dtype=np.int8)[None], 1)
    return rewire(circuit, np.take_along_axis(wiring, order, 1), 2 * position)
