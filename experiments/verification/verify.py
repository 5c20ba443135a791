"""The verify job: small networks of every node type, wiring and encoder, in every back end on rows of a data set."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut.circuits import (
    Circuit,
    CompiledCircuit,
    fixed_point_words,
    pixel_words,
    simplify,
    simulate,
    write_c,
    write_testbench,
    write_verilog,
)
from difflut.circuits.writers.testbench import SIMULATORS
from difflut.encoders.detectors import edges
from difflut.kernels.validation import MAX_INPUTS
from difflut.layers import Layer
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES, register_job
from experiments.data import load_dataset
from experiments.shared.arguments import check_effect, check_names, check_some, check_whole, configured
from experiments.shared.failures import MismatchError

Bank = Callable[..., Layer]


def _dense(layer: str, **options: Any) -> Callable[[Bank], list[Bank]]:
    return lambda bank: [partial(bank, layer, output_size=60, **options), partial(bank, "random", output_size=40)]


def _image(*after: Callable[[Bank], Bank]) -> Callable[[Bank], list[Bank]]:
    """A convolution, others behind it, and a dense layer."""

    def layers(bank: Bank) -> list[Bank]:
        first = partial(bank, "random", output_size=8, kernel_size=3, padding=1, name="first")
        return [first, *(make(bank) for make in after), partial(bank, "random", output_size=40)]

    return layers


# How the layers of a network are wired: from a function that makes one from a layer's name and options.
WIRINGS: dict[str, Callable[[Bank], list[Bank]]] = {
    "random": _dense("random"),
    "learnable": _dense("learnable"),
    "soft": _dense("learnable", selection="soft"),
    "top-8": _dense("learnable", top_k=8),
    "convolution": _image(lambda bank: partial(bank, "learnable", output_size=8, kernel_size=2, stride=2, top_k=8)),
    "pooling": _image(lambda bank: LAYERS["pool"]),
    "detectors": _image(),
    "tree": _image(lambda bank: partial(bank, "tree", n=2)),
    "skip": _image(
        lambda bank: partial(bank, "random", output_size=8, kernel_size=3, padding=1, name="second"),
        lambda bank: partial(LAYERS["merge"], reads=["first", "second"], name="both"),
        lambda bank: partial(bank, "random", output_size=8, kernel_size=2, reads=["both", "encoder"]),
    ),
}
IMAGES = ("convolution", "pooling", "detectors", "tree", "skip")
BACK_ENDS = ("numpy", "engine", "C", "Verilog")


@register_job("verify")
def verify(
    dataset: str = "mnist",
    features: int = 49,
    samples: int = 10_000,
    simulated_samples: int = 1000,
    n: int = 4,
    nodes: Sequence[str] | None = None,
    wirings: Sequence[str] | None = None,
    encoders: Sequence[str] | None = None,
    back_ends: Sequence[str] = BACK_ENDS,
    simulator: str = "iverilog",
) -> int:
    """Compares untrained networks with their circuit in numpy, engine, C and Verilog.

    Args:
        dataset: Whose rows are evaluated.
        features: Evenly spaced ones of them are taken; convolutions read the largest square of them as an image.
        samples: Rows for circuit, engine and C, training rows first.
        simulated_samples: Rows for the simulator.
        n: Inputs of a node, or the nearest number that its type may have.
        nodes: Node types; None is all.
        wirings: Names of wirings: "random", "learnable", "soft", "top-8", "convolution", "pooling", "detectors", "tree"
            and "skip"; None is all. "detectors" is a convolution that reads responses to edges, too.
        encoders: None is all.
        back_ends: Names of back ends: "numpy", "engine", "C", "Verilog".
        simulator: "verilator" or "iverilog".

    Returns:
        The number of networks.

    Raises:
        ConfigurationError: A name is not known, or a number cannot be.
        MismatchError: A back end got a sample wrong; raised when all networks have been compared.
    """
    nodes, wirings, encoders = nodes or list(NODES), wirings or list(WIRINGS), encoders or list(ENCODERS)
    check_names("verify.nodes", nodes, NODES)
    check_names("verify.wirings", wirings, WIRINGS)
    check_names("verify.encoders", encoders, ENCODERS)
    check_some("verify.back_ends", back_ends)
    check_names("verify.back_ends", back_ends, BACK_ENDS)
    check_names("verify.simulator", [simulator], SIMULATORS)
    counts = {"features": features, "samples": samples, "simulated_samples": simulated_samples}
    for argument, value in counts.items():
        check_whole(f"verify.{argument}", value)
    check_whole("verify.n", n, most=MAX_INPUTS)
    if "Verilog" not in back_ends:
        simulation = {"simulated_samples": simulated_samples, "simulator": simulator}
        check_effect("verify", simulation, 'without "Verilog" among verify.back_ends')
    with configured():
        data = load_dataset(dataset, seed=0)
    x = torch.cat([data.x_train, data.x_test])[:samples].flatten(1)
    x = x[:, torch.linspace(0, x.shape[1] - 1, min(features, x.shape[1])).long()]
    start, mismatches, networks = time.perf_counter(), 0, 0
    for names in product(nodes, wirings, encoders):
        inputs = _as_image(x) if names[1] in IMAGES else x
        inputs = _as_pixels(inputs) if names[1] == "detectors" else inputs
        model = _network(*names, inputs, n)
        for back_end, wrong in _check(model, inputs, simulated_samples, back_ends, simulator):
            mismatches += wrong
            if wrong:
                print(f"{' '.join(names)}: {back_end}: {wrong} mismatches")
        networks += 1
        if networks % 32 == 0:
            print(f"{networks} networks, {mismatches} mismatches, {time.perf_counter() - start:.0f} s", flush=True)
    simulated = f" ({simulated_samples} simulated)" if "Verilog" in back_ends else ""
    print(f"{networks} networks, {len(x)} samples{simulated}, {mismatches} mismatches in {', '.join(back_ends)}")
    if mismatches:
        raise MismatchError(f"{mismatches} mismatches in {networks} networks; the lines above name them")
    return networks


def _network(node: str, wiring: str, encoder: str, x: torch.Tensor, n: int) -> LUTNetwork:
    def bank(layer: str, n: int = n, **options: Any) -> Layer:
        return LAYERS[layer](node_type=NODES[node], n=NODES[node].nearest_inputs(n), **options)

    torch.manual_seed(0)
    fitted = ENCODERS[encoder](num_bits=4, detectors=edges() if wiring == "detectors" else None).fit(x)
    return network(x.shape[1:], 10, fitted, WIRINGS[wiring](bank)).eval()


def _as_image(x: torch.Tensor) -> torch.Tensor:
    """The largest square of features: `(rows, side, side)`."""
    side = math.isqrt(x.shape[1])
    return x[:, : side * side].view(-1, side, side)


def _as_pixels(x: torch.Tensor) -> torch.Tensor:
    """Bytes, into whose range other numbers are brought."""
    if x.dtype == torch.uint8:
        return x
    low, high = x.aminmax()
    return ((x - low) * (255 / (high - low))).byte()


@torch.no_grad()
def _check(
    model: LUTNetwork, x: torch.Tensor, simulated: int, back_ends: Sequence[str], simulator: str
) -> Iterator[tuple[str, int]]:
    """Each back end and how many samples it gets wrong."""
    logits, features = model(x).numpy(), x.numpy()
    circuit, _ = simplify(Circuit.from_model(model))

    def wrong(predict: Callable[[np.ndarray], np.ndarray]) -> int:
        return int((predict(features) != logits).any(1).sum())

    if "numpy" in back_ends:
        yield "numpy", wrong(circuit)
    if "engine" in back_ends:
        yield "engine", wrong(circuit.engine().logits)
    with tempfile.TemporaryDirectory() as folder:
        if "C" in back_ends:
            source = write_c(circuit, Path(folder, "circuit.c"))
            compiled = CompiledCircuit(source, circuit.sample_size, circuit.num_classes, ["-std=c99", "-O0"])
            yield "C", wrong(lambda x: compiled.counts_and_classes(x)[0].astype(np.float32) / np.float32(circuit.tau))
        if "Verilog" in back_ends:
            words = pixel_words(circuit) if features.dtype == np.uint8 else fixed_point_words(circuit)
            design = write_verilog(circuit, folder, words, pipeline=True)
            counts = np.rint(logits[:simulated] * circuit.tau).astype(np.int64)
            write_testbench(design, features[:simulated], counts, counts.argmax(1))
            yield "Verilog", simulate(design, simulator).mismatches
