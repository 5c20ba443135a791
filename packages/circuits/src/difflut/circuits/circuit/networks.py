"""The arrays of a circuit from a network: every layer at every placement, tables shared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from difflut.circuits.circuit.detectors import response_sums
from difflut.circuits.circuit.luts import ZERO, Luts

if TYPE_CHECKING:
    from difflut.models import LUTNetwork
    from difflut.models.networks import Stage

ENCODER = -1  # as a source of a layer


def arrays_of(model: "LUTNetwork") -> dict[str, Any]:
    """Encoder, LUTs and head of a network, as the fields of a circuit.

    Raises:
        ValueError: The network has no group sum, or its encoder is not fitted.
    """
    if model.groupsum is None:
        raise ValueError("a circuit counts ones by class, but the network has no GroupSum; give it one")
    stages, order = model.hard(), model.bit_order()
    encoded = _encoded_size(stages)
    luts, signals = Luts(encoded), {ENCODER: np.arange(encoded) if order is None else order.cpu().numpy()}
    for number, (layer, sources) in enumerate(stages):
        source = np.concatenate([signals[name] for name in sources])
        rows = layer.placements.rows(layer.wiring).cpu().numpy().swapaxes(1, 2)  # (L, P, n)
        added = luts.add(np.where(rows < 0, ZERO, source[rows]), layer.tables.cpu().numpy())
        signals[number] = added.reshape(-1)
    heads = [signals[source] for source in model.head_sources]
    outputs = np.concatenate(heads)
    return {
        **_encoder(model, encoded),
        **luts.arrays(),
        "outputs": outputs,
        "inverted": np.zeros(len(outputs), bool),
        "groups": model.groupsum.groups(*map(len, heads)).cpu().numpy(),
        "bias": np.zeros(model.groupsum.k, np.int64),
        "tau": model.groupsum.present_tau,
    }


def _encoded_size(stages: Sequence["Stage"]) -> int:
    """Bits of the encoder, as the layers that read it have it."""
    sizes = [layer.num_lookups for layer, _ in stages]
    layer, sources = next(stage for stage in stages if ENCODER in stage.sources)
    others = sum(sizes[number] for number in sources if number != ENCODER)
    return (layer.placements.features - others) // sources.count(ENCODER)


def _encoder(model: "LUTNetwork", size: int) -> dict[str, Any]:
    """Thresholds, code book and responses; where inputs are bits, `x >= 1/2` as `x >` the float32 just below 1/2."""
    encoder = model.encoder
    if encoder is None:
        below_half = np.nextafter(np.float32(0.5), np.float32(0))
        return {"thresholds": np.full((size, 1), below_half), "codebook": np.array([[False], [True]])}
    if not encoder.fitted:
        raise ValueError(f"{type(encoder).__name__} is not fitted; call encoder.fit(training_inputs) first")
    thresholds = encoder.hard_thresholds().cpu().numpy()
    thresholds = np.broadcast_to(thresholds, (size // encoder.num_bits, thresholds.shape[1])).copy()
    sums = response_sums(encoder.detectors, encoder.feature_shape) if encoder.detectors else None
    return {"thresholds": thresholds, "codebook": encoder.codebook.cpu().numpy().astype(bool), "sums": sums}
