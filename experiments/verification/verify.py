"""The verify job: small networks of every node type, wiring and encoder, in every back end on rows of a data set."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product
from pathlib import Path

import numpy as np
import torch

from difflut.circuits import (
    Circuit,
    CompiledCircuit,
    input_words,
    simplify,
    simulate,
    write_c,
    write_testbench,
    write_verilog,
)
from difflut.circuits.tools.compiled import find_compiler
from difflut.circuits.tools.simulate import find_simulator
from difflut.circuits.writers.testbench import SIMULATORS
from difflut.kernels.validation import MAX_INPUTS
from difflut.models import LUTNetwork
from difflut.registry import ENCODERS, NODES, register_job
from experiments.data import load_dataset
from experiments.shared.arguments import check_effect, check_names, check_some, check_whole, configured
from experiments.shared.failures import MismatchError
from experiments.verification.networks import known_wirings, small_network
from experiments.verification.training import in_one_piece, in_pieces

BACK_ENDS = ("numpy", "engine", "C", "Verilog")


@register_job("verify")
def verify(
    dataset: str = "mnist",
    features: int = 49,
    samples: int = 10_000,
    simulated_samples: int = 1000,
    n: int = 4,
    epochs: int = 0,
    nodes: Sequence[str] | None = None,
    wirings: Sequence[str] | None = None,
    encoders: Sequence[str] | None = None,
    back_ends: Sequence[str] = BACK_ENDS,
    simulator: str = "iverilog",
) -> int:
    """Compares networks with their circuit in numpy, engine, C and Verilog.

    Args:
        dataset: Whose rows are evaluated.
        features: Evenly spaced ones of them are taken; convolutions read the largest square of them as an image.
        samples: Rows for circuit, engine and C, training rows first.
        simulated_samples: Rows for the simulator.
        n: Inputs of a node, or the nearest number that its type may have.
        epochs: Epochs for which they are trained on the same rows first, once in one piece and once going on from a
            checkpoint after each epoch, which must give the same network; with 0 they are as they start.
        nodes: Node types; None is all.
        wirings: Names of layer types that draw or learn what nodes read, which are dense here, and "soft", "top-8",
            "convolution", "pooling", "detectors", "tree" and "skip"; None is all. "detectors" is a convolution that
            reads responses to edges, too.
        encoders: None is all.
        back_ends: Names of back ends: "numpy", "engine", "C", "Verilog".
        simulator: "verilator" or "iverilog".

    Returns:
        The number of networks.

    Raises:
        ConfigurationError: A name is not known, a number cannot be, or the simulator or a C compiler is missing.
        MismatchError: A back end got a sample wrong; raised when all networks have been compared.
    """
    nodes, wirings, encoders = nodes or list(NODES), wirings or list(known_wirings()), encoders or list(ENCODERS)
    check_names("verify.nodes", nodes, NODES)
    check_names("verify.wirings", wirings, known_wirings())
    check_names("verify.encoders", encoders, ENCODERS)
    check_some("verify.back_ends", back_ends)
    check_names("verify.back_ends", back_ends, BACK_ENDS)
    check_names("verify.simulator", [simulator], SIMULATORS)
    counts = {"features": features, "samples": samples, "simulated_samples": simulated_samples}
    for argument, value in counts.items():
        check_whole(f"verify.{argument}", value)
    check_whole("verify.n", n, most=MAX_INPUTS)
    check_whole("verify.epochs", epochs, least=0)
    if "Verilog" not in back_ends:
        simulation = {"simulated_samples": simulated_samples, "simulator": simulator}
        check_effect("verify", simulation, 'without "Verilog" among verify.back_ends')
    with configured():
        _check_tools(back_ends, simulator)
        data = load_dataset(dataset, seed=0)
    x = torch.cat([data.x_train, data.x_test])[:samples].flatten(1)
    x = x[:, torch.linspace(0, x.shape[1] - 1, min(features, x.shape[1])).long()]
    y = torch.cat([data.y_train, data.y_test])[:samples]
    start, mismatches, networks = time.perf_counter(), 0, 0
    for names in product(nodes, wirings, encoders):
        model, inputs = small_network(*names, x, n)
        checks = _check(model, inputs, simulated_samples, back_ends, simulator)
        if epochs:
            again, _ = small_network(*names, x, n)
            checks = chain(_train(model, again, inputs, y, epochs), checks)
        for back_end, wrong in checks:
            mismatches += wrong
            if wrong:
                print(f"{' '.join(names)}: {back_end}: {wrong} mismatches")
        networks += 1
        if networks % 32 == 0:
            print(f"{networks} networks, {mismatches} mismatches, {time.perf_counter() - start:.0f} s", flush=True)
    simulated = f" ({simulated_samples} simulated)" if "Verilog" in back_ends else ""
    compared = ["resumed training"] * (epochs > 0) + [*back_ends]
    print(f"{networks} networks, {len(x)} samples{simulated}, {mismatches} mismatches in {', '.join(compared)}")
    if mismatches:
        raise MismatchError(f"{mismatches} mismatches in {networks} networks; the lines above name them")
    return networks


def _train(
    model: LUTNetwork, again: LUTNetwork, x: torch.Tensor, y: torch.Tensor, epochs: int
) -> Iterator[tuple[str, int]]:
    """Trains a network, and another that starts as it does in pieces; how many samples these see otherwise."""
    generator = torch.get_rng_state()
    in_one_piece(model, x, y, epochs)
    torch.set_rng_state(generator)
    with tempfile.TemporaryDirectory() as folder:
        again = in_pieces(again, x, y, epochs, Path(folder, "network.pt"))
    with torch.no_grad():
        yield "resumed training", int((model(x) != again(x)).any(1).sum())


def _check_tools(back_ends: Sequence[str], simulator: str) -> None:
    if "C" in back_ends:
        find_compiler()
    if "Verilog" in back_ends:
        find_simulator(simulator)


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
            words = input_words(circuit, features.dtype == np.uint8)
            design = write_verilog(circuit, folder, words, pipeline=True)
            counts = np.rint(logits[:simulated] * circuit.tau).astype(np.int64)
            write_testbench(design, features[:simulated], counts, counts.argmax(1))
            yield "Verilog", simulate(design, simulator).mismatches
