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

FEW = 512  # samples for back ends that need milliseconds for each
MANY = 2**20  # at least, for a GPU
Classify = Callable[[Any], np.ndarray | torch.Tensor]


@dataclass(frozen=True)
class Candidate:
    """A network, where there is one as a module, and a folder for what a back end writes."""

    circuit: Circuit
    model: LUTNetwork | None
    folder: Path


def _model(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    model = of.model
    assert model is not None  # as `_measured` sees to

    @torch.no_grad()
    def classify(given: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(given)).argmax(1).numpy()

    return classify, x[:FEW]


def _numpy(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return of.circuit.classes, x[:FEW]


def _compiled(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    source = write_c(of.circuit, of.folder / "circuit.c")
    made = CompiledCircuit(source, of.circuit.num_features, of.circuit.num_classes)
    return lambda given: made.counts_and_classes(given)[1], x


def _interpreter(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return CpuEngine(of.circuit, 1, assemble=False).classes, x


def _engine(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return of.circuit.engine(threads=1).classes, x


def _threads(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    return of.circuit.engine().classes, x


def _cuda(of: Candidate, x: np.ndarray) -> tuple[Classify, Any]:
    engine: Any = of.circuit.engine("cuda")  # which takes tensors too

    def classify(given: torch.Tensor) -> torch.Tensor:
        classes = engine.classes(given)
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
