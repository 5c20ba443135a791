"""The arrays of a circuit from a network: every layer at every placement, tables shared."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from difflut.models import LUTNetwork


def arrays_of(model: "LUTNetwork") -> dict[str, Any]:
    """Encoder, LUTs and head of a network, as the fields of a circuit.

    Raises:
        ValueError: The network has no group sum, or its encoder is not fitted.
    """
    if model.groupsum is None:
        raise ValueError("a circuit counts ones by class, but the network has no GroupSum; give it one")
    thresholds, codebook = _encoder(model)
    first, luts = 0, thresholds.shape[0] * codebook.shape[1]
    width = max(layer.wiring().shape[1] for layer in model.layers)
    wirings, tables, layers = [], [], []
    for number, layer in enumerate(model.layers):
        table = layer.node.truth_table().cpu().numpy()  # (L, m, 2**n)
        wiring = np.repeat(layer.wiring().cpu().numpy(), table.shape[1], axis=0) + first
        table, unused = table.reshape(len(wiring), -1), width - wiring.shape[1]
        wirings.append(np.pad(wiring, ((0, 0), (0, unused)), constant_values=-1))
        tables.append(np.tile(table, (1, 2**unused)))
        layers.append(np.full(len(wiring), number))
        first, luts = luts, luts + len(wiring)
    outputs = np.arange(first, luts)
    groups = model.groupsum.groups(len(outputs)).cpu().numpy()
    return {
        "thresholds": thresholds,
        "codebook": codebook,
        "wiring": np.concatenate(wirings),
        "tables": np.concatenate(tables),
        "table_of": np.arange(luts - thresholds.shape[0] * codebook.shape[1]),
        "layers": np.concatenate(layers),
        "outputs": outputs,
        "inverted": np.zeros(len(outputs), bool),
        "groups": groups,
        "bias": np.zeros(model.groupsum.k, np.int64),
        "tau": model.groupsum.present_tau,
    }


def _encoder(model: "LUTNetwork") -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and code book; where inputs are bits, `x >= 1/2` as `x >` the float32 just below 1/2."""
    encoder, width = model.encoder, model.layers[0].input_size
    if encoder is None:
        below_half = np.nextafter(np.float32(0.5), np.float32(0))
        return np.full((width, 1), below_half), np.array([[False], [True]])
    if not encoder.fitted:
        raise ValueError(f"{type(encoder).__name__} is not fitted; call encoder.fit(training_inputs) first")
    thresholds = encoder.thresholds.cpu().numpy()
    thresholds = np.broadcast_to(thresholds, (width // encoder.num_bits, thresholds.shape[1])).copy()
    return thresholds, encoder.codebook.cpu().numpy().astype(bool)
