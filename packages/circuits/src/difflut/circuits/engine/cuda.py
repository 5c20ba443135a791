"""The GPU engine: see `kernels/engine.cu`."""

import ctypes
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.circuit import Circuit
from difflut.circuits.engine import cpu
from difflut.circuits.engine.gpu import WARP, GpuEngine, counted
from difflut.circuits.engine.netlist import Netlist, netlist
from difflut.kernels import jit

FLAGS = ("-O3",)
THREADS = 384  # of a block: two blocks have the registers of a multiprocessor
TURNS = 6, 4, 2, 1  # gates of a thread between two barriers: the more, the more signals are there at a time
QUAD = 4
HALF = 1024  # bytes are compared as half-precision numbers, this added

_ARRAYS = ("chunks", "code", "votes", "start", "bias", "quads", "limits", "places")
_INTEGERS = ("features", "num_quads", "levels", "num_chunks", "num_places", "classes", "parts")


class Network(ctypes.Structure):
    """What `kernels/engine_network.cuh` calls a network."""

    _fields_ = [(name, ctypes.c_void_p) for name in _ARRAYS] + [(name, ctypes.c_int64) for name in _INTEGERS]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("engine_cuda", ("engine.cu",), FLAGS)
    if loaded is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        loaded.difflut_cuda_engine.argtypes = [pointer, pointer, *[integer] * 4, *[pointer] * 3]
        loaded.difflut_cuda_engine_room.argtypes = [pointer, integer]
        loaded.difflut_cuda_engine_room.restype = integer
    return loaded


class TooLargeError(RuntimeError):
    """Shared memory does not hold a circuit's signals."""


class CudaEngine(GpuEngine):
    """Tiles of samples, each in the shared memory of a multiprocessor from input to class.

    Args:
        circuit: Simplified or not; what is quick to simplify is simplified here.
        words: Words of 32 samples in a tile: 1, 2 or 4; None is as many as shared memory holds.

    Raises:
        TooLargeError: There is too little shared memory for the circuit.
        RuntimeError: There is no GPU, or no compiler.
    """

    def __init__(self, circuit: Circuit, words: int | None = None) -> None:
        super().__init__(circuit, library)
        net, encoding = arranged(circuit)
        self._offset = net.offset
        arrays, self._words = _fitting(self._library, net, circuit.num_classes, (words,) if words else (4, 2, 1))
        self.name = f"GPU engine ({WARP * self._words} samples a tile)"
        self._networks = {pixels: _network(arrays | comparisons(circuit, encoding, pixels)) for pixels in (False, True)}

    def _launch(self, x: torch.Tensor, classes: int | None, counts: int | None, stream: int) -> int:
        pixels = x.dtype == torch.uint8
        network, _ = self._networks[pixels]
        sizes = pixels, len(x), self._words, THREADS
        code: int = self._library.difflut_cuda_engine(
            ctypes.byref(network), x.data_ptr(), *sizes, classes, counts, stream
        )
        return code


def _network(arrays: dict[str, Any]) -> tuple[Network, list[torch.Tensor]]:
    """The network as the kernel takes it, and the tensors in which it lies."""
    tensors = [torch.from_numpy(np.ascontiguousarray(arrays[name])).cuda() for name in _ARRAYS]
    return Network(*(tensor.data_ptr() for tensor in tensors), *(arrays[name] for name in _INTEGERS)), tensors


def _fitting(loaded: ctypes.CDLL, net: Netlist, classes: int, words: tuple[int, ...]) -> tuple[dict[str, Any], int]:
    """The first of the numbers of words, and chunks as large as there is shared memory for, by parts if need be."""
    properties: Any = torch.cuda.get_device_properties(torch.cuda.current_device())  # whose types lack the next one
    room = properties.shared_memory_per_block_optin
    for by_part, each, turns in product((False, True), words, TURNS):
        arrays = chunks(net, classes, THREADS, turns, WARP // each, by_part)
        sizes = Network(**{name: arrays[name] for name in _INTEGERS if name in arrays})
        needed = loaded.difflut_cuda_engine_room(ctypes.byref(sizes), each)
        if needed <= room:
            return arrays, each
    raise TooLargeError(
        f"the GPU engine needs {needed} bytes of shared memory for {arrays['num_places']} signals at a time, there are "
        f"{room}; simplify the circuit, or take device='cpu'"
    )


def chunks(net: Netlist, classes: int, threads: int, turns: int, banks: int, by_part: bool = False) -> dict[str, Any]:
    """The nodes as `kernels/engine_chunks.h` arranges them, as signed integers of the same size.

    Part by part of the input fewer signals of a convolution are there at a time, and there are more barriers.
    """
    library = cpu.compiled()
    sizes = np.zeros(4, np.int64)
    handle = library.difflut_engine_chunks(
        cpu.plan(net, classes), threads, turns * threads, banks, by_part, sizes.ctypes.data
    )
    places, num_chunks, code, votes = sizes.tolist()
    arrays: dict[str, np.ndarray] = {
        "chunks": np.empty(num_chunks, np.int64),
        "code": np.empty(code, np.int64),
        "votes": np.empty(votes, np.int32),
        "start": np.empty(classes + 1, np.int32),
        "bias": np.empty(classes, np.int32),
    }
    library.difflut_engine_take_chunks(handle, *(array.ctypes.data for array in arrays.values()))
    return arrays | {"num_places": places, "num_chunks": num_chunks - 1} | counted(classes, arrays["start"])


def arranged(circuit: Circuit) -> tuple[Netlist, np.ndarray]:
    """The netlist, and of each of its comparisons feature, threshold, level among those of the feature, and place.

    Neighbouring threads compare neighbouring quads of features: their places are neighbours, too.
    """
    features, indices = encoder_bits(circuit).comparisons.T
    order = np.lexsort((indices, features))
    levels, places = np.empty((2, len(features)), np.int64)
    levels[order] = np.arange(len(features)) - np.searchsorted(features[order], features[order])
    thread = np.argsort(used_quads(features, levels))[np.unique(features // QUAD, return_inverse=True)[1]]
    places[np.lexsort((thread, features % QUAD, levels))] = np.arange(len(features))
    return netlist(circuit, places), np.stack([features, indices, levels, places])


def used_quads(features: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The quads of features that are compared, those with many levels first, so that a warp's have as many each."""
    used, quads = np.unique(features // QUAD, return_inverse=True)
    count = np.zeros(len(used), np.int64)
    np.maximum.at(count, quads, levels + 1)
    return used[np.argsort(-count, kind="stable")]


def comparisons(circuit: Circuit, encoding: np.ndarray, pixels: bool) -> dict[str, Any]:
    """What each feature is compared with, and where the results go: those that are none to a place that none reads."""
    features, indices, levels, at = encoding
    width = -(-circuit.num_features // QUAD) * QUAD if pixels else circuit.num_features
    places = np.full((int(levels.max(initial=-1)) + 1, width), len(at), np.uint16)
    places[levels, features] = at
    limits = np.full(places.shape, np.inf, np.float32)
    limits[levels, features] = circuit.thresholds[features, indices]
    quads = used_quads(features, levels)
    if pixels:
        lowest = np.nan_to_num(np.clip(np.floor(limits) + 1, 0, 256), nan=256)
        halves = (HALF + lowest).astype(np.float16).view(np.uint16)
        used = [array.reshape(len(places), -1, QUAD)[:, quads] for array in (places, halves)]
        limits = np.ascontiguousarray(np.concatenate(used, axis=-1)).view(np.int16)
    arrays = {"quads": quads.astype(np.int32), "limits": limits, "places": places.view(np.int16)}
    return arrays | {"features": circuit.num_features, "num_quads": len(quads), "levels": len(places)}
