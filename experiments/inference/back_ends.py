"""Back ends for the inference job: what makes each ready, and the inputs that it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut.circuits import Circuit, CompiledCircuit, write_c
from difflut.circuits.engine import cpu
from difflut.circuits.engine.cpu import CpuEngine
from difflut.models import LUTNetwork

FEW = 512  # samples, for back ends that take milliseconds for each of them
MANY = 2**20  # samples at least, which keep a GPU busy
Classify = Callable[[Any], np.ndarray | torch.Tensor]


@dataclass(frozen=True)
class Candidate:
    """A network, where there is one as a module, and a folder for what a back end writes."""

    circuit: Circuit
    model: LUTNetwork | None
    folder: Path


def _model(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    model = candidate.model
    assert model is not None  # `serves` was asked before

    @torch.no_grad()
    def classify(inputs: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(inputs)).argmax(1).numpy()

    return classify, x[:FEW]


def _numpy(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return candidate.circuit.classes, x[:FEW]


def _compiled(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    source = write_c(candidate.circuit, candidate.folder / "circuit.c")
    made = CompiledCircuit(source, candidate.circuit.sample_size, candidate.circuit.num_classes)
    return lambda inputs: made.counts_and_classes(inputs)[1], x


def _interpreter(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return CpuEngine(candidate.circuit, 1, assemble=False).classes, x


def _engine(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return candidate.circuit.engine(threads=1).classes, x


def _threads(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return candidate.circuit.engine().classes, x


def _cuda(candidate: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    engine: Any = candidate.circuit.engine("cuda")  # the engine of a GPU takes tensors too

    def classify(inputs: torch.Tensor) -> torch.Tensor:
        classes = engine.classes(inputs)
        torch.cuda.synchronize()
        return classes

    return classify, torch.from_numpy(x).cuda().repeat(-(-MANY // len(x)), *[1] * (x.ndim - 1))


Make = Callable[[Candidate, np.ndarray], tuple[Classify, Any]]
BACK_ENDS: dict[str, Make] = {
    "model": _model, "numpy": _numpy, "c": _compiled, "interpreter": _interpreter, "engine": _engine,
    "threads": _threads, "cuda": _cuda,
}  # fmt: skip


def serves(name: str, candidate: Candidate) -> bool:
    """Whether there is such a back end for this network on this machine."""
    there = {"model": candidate.model is not None, "interpreter": cpu.available(), "cuda": torch.cuda.is_available()}
    return there.get(name, True)
