import numpy as np
import torch

from difflut.circuits import Circuit
from difflut.layers import GroupSum
from difflut.models import LUTNetwork
from difflut.registry import ENCODERS, LAYERS, NODES


def network(node="dwn", encoder="distributive_thermometer", layer="random", n=2, outputs=2, data=None):
    data = torch.randn(300, 5) if data is None else data
    encoder = encoder and ENCODERS[encoder](num_bits=4).fit(data)
    options = {"node_type": NODES[node], "n": n, "node_kwargs": {"output_dim": outputs}}
    layers = [LAYERS[layer](20, 40, **options), LAYERS["random"](40, 30, **options)]
    return LUTNetwork(encoder, layers, GroupSum(3, 1.7, use_randperm=True)).eval()


def random_circuit(seed, n=4, depth=3, width=30, ones=0.5, classes=3):
    """Sloppy wiring: inputs missing, read twice or from any lower layer, few different tables, repeated thresholds."""
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.integers(-3, 3, (4, 3)), axis=1).astype(np.float32)
    codebook = rng.random((4, 3)) < 0.5
    layers = np.repeat(np.arange(depth), width)
    wiring = rng.integers(-1, 12 + layers[:, None] * width, (len(layers), n))
    tables = (rng.random((20, 2**n)) < ones)[rng.integers(20, size=len(layers))]
    for pin in range(n):
        low = np.arange(2**n) & ~(1 << pin)
        tables = np.where(wiring[:, pin, None] < 0, tables[:, low], tables)
    tables, table_of = np.unique(tables, axis=0, return_inverse=True)
    outputs = rng.integers(12 + len(layers), size=20)
    return Circuit(thresholds, codebook, wiring, tables, table_of.reshape(-1), layers, outputs, rng.random(20) < 0.3,
                   rng.integers(classes, size=20), rng.integers(3, size=classes), 1.5)  # fmt: skip


def inputs(circuit, samples=300, seed=0):
    x = np.random.default_rng(seed).normal(0, 2, (samples, circuit.num_features)).astype(np.float32)
    x[: samples // 3] = x[: samples // 3].round()
    x[0, 0], x[1, 1], x[2, 2] = np.nan, np.inf, -np.inf
    return x
