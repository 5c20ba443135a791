"""Networks of torch_dwn (arXiv 2410.11112)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.circuit.luts import ZERO
from difflut.circuits.imports.assembly import checked_wiring, inputs_of

if TYPE_CHECKING:
    from torch import Tensor


def from_torch_dwn(
    state_dict: "Mapping[str, Tensor]",
    inputs: "int | Tensor",
    classes: int,
    tau: float = 1.0,
    permutation: "Sequence[int] | Tensor | None" = None,
) -> Circuit:
    """The `LUTLayer`s of a state dict, in their order, followed by a `GroupSum`.

    Args:
        state_dict: State of an `nn.Sequential` of layers, or of a model that runs them in the order of their names.
        inputs: `thermometer.thresholds`, `(features, K)`; or how many bits the first layer reads.
        classes: `GroupSum.k`.
        tau: `GroupSum.tau`.
        permutation: `GroupSum.randperm`, which is in no state dict.

    Raises:
        ValueError: The state dict has no such layer, or one that does not fit what is before it.
    """
    assembly = inputs_of(inputs)
    layers = [name.removesuffix("luts") for name in state_dict if name.rpartition(".")[2] == "luts"]
    if not layers:
        raise ValueError("the state dict has no LUTLayer of torch_dwn, whose tables are called 'luts'")
    for name in layers:
        tables = state_dict[f"{name}luts"].detach().cpu().numpy() > 0
        n = tables.shape[1].bit_length() - 1
        wiring = state_dict.get(f"{name}mapping")
        if wiring is None:
            wiring = state_dict[f"{name}mapping.weights"].argmax(0).reshape(-1, n)
        pins = assembly.signals[checked_wiring(f"{name}mapping", wiring, len(tables), len(assembly.signals))]
        assembly.signals = assembly.look_up(pins[:, None], tables)[:, 0]
    order = np.arange(len(assembly.signals)) if permutation is None else np.asarray(permutation)
    # Where the outputs cannot be divided, zeros follow.
    assembly.signals = np.pad(assembly.signals[order], (0, -len(order) % classes), constant_values=ZERO)
    return assembly.circuit(classes, tau)
