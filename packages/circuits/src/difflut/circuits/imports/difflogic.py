"""Networks of difflogic (arXiv 2210.08277)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from difflut.circuits.circuit import Circuit
from difflut.circuits.imports.assembly import checked_wiring, inputs_of

if TYPE_CHECKING:
    from torch import Tensor


def from_difflogic(
    state_dict: "Mapping[str, Tensor]",
    indices: "Sequence[tuple[Tensor, Tensor]]",
    inputs: "int | Tensor",
    classes: int,
    tau: float = 1.0,
) -> Circuit:
    """The `LogicLayer`s of a state dict, in their order, followed by a `GroupSum`.

    Args:
        state_dict: State of an `nn.Sequential` of layers, or of a model that runs them in the order of their names.
        indices: `layer.indices` of every layer, which are in no state dict.
        inputs: Number of bits that the first layer reads; or thresholds `(features, K)` of a thermometer before it.
        classes: `GroupSum.k`.
        tau: `GroupSum.tau`.

    Raises:
        ValueError: The state dict has no such layer, or the indices do not fit it.
    """
    assembly = inputs_of(inputs)
    layers = [name for name in state_dict if name.rpartition(".")[2] in ("weights", "weight")]
    if not layers or len(layers) != len(indices):
        raise ValueError(f"the state dict has {len(layers)} LogicLayers, got the indices of {len(indices)}")
    for name, (a, b) in zip(layers, indices, strict=True):
        gates = state_dict[name].detach().cpu().numpy().argmax(1)
        # The highest bit of a gate's number is its value at a = b = 0, the next that at b = 1.
        tables = (gates[:, None] >> np.array([3, 1, 2, 0]) & 1).astype(bool)
        wiring = np.column_stack([pin.detach().cpu().numpy() for pin in (a, b)])
        pins = assembly.signals[checked_wiring(name, wiring, len(gates), len(assembly.signals))]
        assembly.signals = assembly.look_up(pins[:, None], tables)[:, 0]
    return assembly.circuit(classes, tau)
