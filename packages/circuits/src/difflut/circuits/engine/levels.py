"""The GPU engine of large circuits: see `kernels/engine_levels.cu`."""

import ctypes
from functools import cache
from typing import Any

import numpy as np
import torch

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.circuit import Circuit
from difflut.circuits.engine import cpu
from difflut.circuits.engine.cuda import FLAGS, Network
from difflut.circuits.engine.gpu import GpuEngine, counted
from difflut.circuits.engine.netlist import Netlist, netlist
from difflut.kernels import jit

TILE = 128  # samples of a tile
SIGNAL = 16  # bytes of a signal of a tile
ROOM = 640 << 20  # bytes of signals that tiles computed together have: with fewer tiles kernels are too short
COUNTING = 32  # warps that count the votes of a tile


class _Levels(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("feature", "limit", "pins", "tables", "groups")),
        ("head", Network),
        *((name, ctypes.c_int64) for name in ("num_groups", "comparisons", "signals")),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("engine_levels", ("engine_levels.cu",), FLAGS)
    if loaded is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        loaded.difflut_cuda_levels.argtypes = [pointer, pointer, *[integer] * 3, *[pointer] * 4]
    return loaded


class LevelsEngine(GpuEngine):
    """Signals in global memory, level after level: for circuits that shared memory is too small for.

    Args:
        circuit: Simplified or not; what is quick to simplify is simplified here.
        tiles: Tiles of 128 samples that are computed together; None is as many as have their signals in 640 MiB.

    Raises:
        RuntimeError: There is no GPU, or no compiler.
    """

    def __init__(self, circuit: Circuit, tiles: int | None = None) -> None:
        super().__init__(circuit, library)
        comparisons, net = sorted_comparisons(circuit)
        self._offset = net.offset
        found = levels(net, circuit.num_classes)
        sizes = counted(circuit.num_classes, found["start"], COUNTING) | {"features": circuit.num_features}
        limits = circuit.thresholds[tuple(comparisons.T)]
        on_gpu = found | {"feature": comparisons[:, 0].astype(np.int32), "limit": limits}
        self._tensors = {name: torch.from_numpy(array).cuda() for name, array in on_gpu.items() if name != "groups"}
        self._groups = found["groups"]  # that they live as long as the engine
        address = {name: tensor.data_ptr() for name, tensor in self._tensors.items()}
        signals = len(limits) + len(found["tables"])
        self._tiles = tiles or max(ROOM // (SIGNAL * max(signals, 1)), 1)
        self._levels = _Levels(
            *(address[name] for name in ("feature", "limit", "pins", "tables")), self._groups.ctypes.data,
            Network(**{name: address[name] for name in ("votes", "start", "bias")}, **sizes),
            len(self._groups), len(limits), signals,
        )  # fmt: skip
        self._memory = torch.empty(self._tiles * signals * SIGNAL // 8, dtype=torch.int64, device="cuda")
        self.name = f"GPU engine ({self._tiles} tiles of {TILE} samples, level by level)"

    def _launch(self, x: torch.Tensor, classes: int | None, counts: int | None, stream: int) -> int:
        sizes = x.dtype == torch.uint8, len(x), self._tiles
        memory, levels = self._memory.data_ptr(), ctypes.byref(self._levels)
        code: int = self._library.difflut_cuda_levels(levels, x.data_ptr(), *sizes, memory, classes, counts, stream)
        return code


def sorted_comparisons(circuit: Circuit) -> tuple[np.ndarray, Netlist]:
    """Feature and threshold index of each comparison, in this order, and the netlist that reads them."""
    comparisons = encoder_bits(circuit).comparisons
    order = np.lexsort(comparisons.T[::-1])
    return comparisons[order], netlist(circuit, np.argsort(order))


def levels(net: Netlist, classes: int) -> dict[str, Any]:
    """The nodes as `kernels/engine_levels.h` arranges them, as signed integers of the same size."""
    library, sizes = cpu.compiled(), np.zeros(4, np.int64)
    handle = library.difflut_engine_levels(cpu.plan(net, classes), sizes.ctypes.data)
    groups, pins, tables, votes = sizes.tolist()
    arrays: dict[str, np.ndarray] = {
        "groups": np.empty((groups, 3), np.int64),
        "pins": np.empty(pins, np.int32),
        "tables": np.empty(tables, np.int64),
        "votes": np.empty(votes, np.int32),
        "start": np.empty(classes + 1, np.int32),
        "bias": np.empty(classes, np.int32),
    }
    library.difflut_engine_take_levels(handle, *(array.ctypes.data for array in arrays.values()))
    return arrays
