"""Networks for the inference job: runs, circuits, and random ones of published sizes."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from difflut.circuits import Circuit
from difflut.models import LUTNetwork, load_checkpoint, network
from difflut.registry import ENCODERS, LAYERS, NODES
from experiments.runs import RunFolder, dataset_of

FEATURES, CLASSES = 784, 10
IMAGE = (32, 32, 3)
Loaded = tuple[Circuit, LUTNetwork | None, np.ndarray]


def load_network(name: str, samples: int) -> Loaded:
    """The circuit, the module where there is one, and inputs: see `inference`."""
    rng = np.random.default_rng(0)
    if name == "gates":
        return _random(rng, 1, [8000] * 6, 2, samples)
    if name == "luts":
        return _random(rng, 3, [2000, 1000], 6, samples)
    if name == "convolution":
        return _convolution(rng, samples)
    if name.endswith(".npz"):
        circuit = Circuit.load(name)
        return circuit, None, rng.integers(256, size=(samples, circuit.sample_size), dtype=np.uint8)
    run = RunFolder.open_finished(name)
    model = load_checkpoint(run.best).eval()
    x = dataset_of(run).x_test.numpy()[:samples]
    return Circuit.from_model(model), model, x


def _convolution(rng: np.random.Generator, samples: int) -> Loaded:
    """The network of `cifar10_conv.gin`, its wiring and tables random."""
    images = rng.integers(256, size=(max(samples, 1000), *IMAGE), dtype=np.uint8)
    encoder = ENCODERS["distributive_thermometer"](num_bits=10).fit(torch.from_numpy(images[:1000]))
    bank = partial(LAYERS["random"], node_type=NODES["dwn"], n=6)
    convolution = partial(bank, kernel_size=3, padding=1, channels_per_node=3)
    pool = partial(LAYERS["pool"], kernel_size=2)
    pooled = [layer for size in (192, 768, 1536) for layer in (partial(convolution, output_size=size), pool)]
    model = network(IMAGE, CLASSES, encoder, [*pooled, partial(bank, output_size=20_000)]).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return Circuit.from_model(model), None, images[:samples]


def _random(rng: np.random.Generator, bits: int, widths: Sequence[int], n: int, samples: int) -> Loaded:
    """Each layer reads all of the one before it, as often as it can."""
    wiring, first, width = [], 0, FEATURES * bits
    for nodes in widths:
        reads = [rng.permutation(width) for _ in range(-(-nodes * n // width))]
        wiring.append(first + np.concatenate(reads)[: nodes * n].reshape(n, nodes).T)
        first, width = first + width, nodes
    tables, table_of = rng.random((sum(widths), 2**n)) < 0.5, np.arange(sum(widths))
    if n == 2:
        tables = np.array([[t >> a & 1 for a in range(4)] for t in (1, 2, 4, 6, 7, 8, 9, 11, 13, 14)], bool)
        table_of = rng.integers(len(tables), size=sum(widths))
    thresholds = np.sort(np.stack([rng.permutation(255)[:bits] for _ in range(FEATURES)]), axis=1).astype(np.float32)
    outputs, layers = np.arange(first, first + width), np.repeat(np.arange(len(widths)), widths)
    circuit = Circuit(
        thresholds,
        codebook=np.tri(bits + 1, bits, -1, dtype=bool),
        wiring=np.concatenate(wiring),
        tables=tables,
        table_of=table_of,
        layers=layers,
        outputs=outputs,
        inverted=np.zeros(width, bool),
        groups=np.arange(width) * CLASSES // width,
        bias=np.zeros(CLASSES, int),
        tau=1.0,
    )
    return circuit, None, rng.integers(256, size=(samples, FEATURES), dtype=np.uint8)
