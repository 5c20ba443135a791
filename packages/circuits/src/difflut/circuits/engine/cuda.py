"""The GPU engine: see `kernels/engine.cu`."""

import ctypes
from functools import cache
from typing import Any

import numpy as np
import torch

from difflut.circuits.circuit import Circuit
from difflut.circuits.engine import cpu
from difflut.circuits.engine.engine import Engine
from difflut.circuits.engine.netlist import Netlist, netlist
from difflut.kernels import jit

FLAGS = ("-O3",)
THREADS = 1024
TURNS = 2
DIGITS = 13
MOST_PLACES = 2**14
QUAD = 4
NO_PLACE = 0xFFFF

_ARRAYS = ("chunks", "gates", "wide", "votes", "start", "bias", "limits", "possible", "places")
_INTEGERS = ("features", "levels", "num_chunks", "num_places", "classes")


class _Network(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _ARRAYS] + [(name, ctypes.c_int64) for name in _INTEGERS]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("engine_cuda", ("engine.cu",), FLAGS)
    if loaded is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        loaded.difflut_cuda_engine.argtypes = [pointer, pointer, *[integer] * 3, *[pointer] * 3]
    return loaded


class CudaEngine(Engine):
    """Tiles of samples, each in the shared memory of a multiprocessor from input to class.

    Inputs are numpy arrays, or tensors, whose results are tensors on the GPU; bytes and floats are told apart as on the
    CPU.

    Args:
        circuit: Simplified or not; what is quick to simplify is simplified here.
        words: Of 32 samples, in a tile: 1, 2 or 4; None is as many as shared memory holds.

    Raises:
        RuntimeError: There is no GPU, no compiler, or too little shared memory for the circuit.
    """

    def __init__(self, circuit: Circuit, words: int | None = None) -> None:
        super().__init__(circuit)
        if not torch.cuda.is_available():
            raise RuntimeError("the GPU engine needs an NVIDIA GPU that torch can use; take device='cpu'")
        if not cpu.available() or library() is None:
            raise RuntimeError("the GPU engine could not be compiled, stderr says why; take device='cpu'")
        net = netlist(circuit)
        self._offset = net.offset
        arrays = chunks(net, circuit.num_classes)
        self._words = words or _words(len(arrays["start"]) - 1, arrays["num_places"])
        self.name = f"GPU engine ({32 * self._words} samples a tile)"
        self._networks = {
            pixels: self._network(arrays | comparisons(circuit, net, pixels), pixels) for pixels in (False, True)
        }

    def counts(self, x: Any) -> Any:
        return self._run(x, "counts", (self.circuit.num_classes,)) - self._offset

    def classes(self, x: Any) -> Any:
        return self._run(x, "classes", ())

    def logits(self, x: Any) -> Any:
        counts = self.counts(x)
        if isinstance(counts, np.ndarray):
            return counts.astype(np.float32) / np.float32(self.circuit.tau)
        return counts.float() / self.circuit.tau

    def _network(self, arrays: dict[str, Any], pixels: bool) -> tuple[_Network, list[torch.Tensor]]:
        """The network as the kernel takes it, and the tensors in which it lies."""
        tensors = [torch.from_numpy(arrays[name]).cuda() for name in _ARRAYS]
        sizes = [arrays[name] for name in _INTEGERS]
        return _Network(*(tensor.data_ptr() for tensor in tensors), *sizes), tensors

    def _run(self, x: Any, wanted: str, shape: tuple[int, ...]) -> Any:
        if not isinstance(x, torch.Tensor):
            return self._run(torch.from_numpy(self._checked(x)), wanted, shape).cpu().numpy()
        x = x.to("cuda", torch.uint8 if x.dtype == torch.uint8 else torch.float32).contiguous()
        self._check_features(x)
        result = torch.empty(len(x), *shape, dtype=torch.int64, device=x.device)
        network, _ = self._networks[x.dtype == torch.uint8]
        outputs = [result.data_ptr() if name == wanted else None for name in ("classes", "counts")]
        stream = torch.cuda.current_stream().cuda_stream
        if len(x):
            code = library().difflut_cuda_engine(
                ctypes.byref(network), x.data_ptr(), x.dtype == torch.uint8, len(x), self._words, *outputs, stream
            )
            if code:
                raise RuntimeError(f"the GPU engine could not be launched: CUDA error {code}")
        return result


def chunks(net: Netlist, classes: int, chunk: int = THREADS * TURNS) -> dict[str, Any]:
    """The nodes as `kernels/engine_chunks.h` arranges them, as signed integers of the same size."""
    library = cpu.library()
    sizes = np.zeros(5, np.int64)
    handle = library.difflut_engine_chunks(cpu.plan(net, classes), chunk, sizes.ctypes.data)
    places, num_chunks, gates, wide, votes = sizes.tolist()
    arrays = {
        "chunks": np.empty((num_chunks, 3), np.int32),
        "gates": np.empty(gates, np.int64),
        "wide": np.empty(wide, np.int64),
        "votes": np.empty(votes, np.int32),
        "start": np.empty(classes + 1, np.int32),
        "bias": np.empty(classes, np.int32),
    }
    library.difflut_engine_take_chunks(handle, *(array.ctypes.data for array in arrays.values()))
    return arrays | {"num_chunks": num_chunks, "num_places": places, "classes": classes}


def comparisons(circuit: Circuit, net: Netlist, pixels: bool) -> dict[str, Any]:
    """What each feature is compared with, four features together, and where the results go."""
    features, indices = net.comparisons.T
    order = np.lexsort((indices, features))
    features, indices = features[order], indices[order]
    levels = np.arange(len(features)) - np.searchsorted(features, features)
    width = -(-circuit.num_features // QUAD) * QUAD
    shape = int(levels.max(initial=-1)) + 1, width
    places = np.full(shape, NO_PLACE, np.uint16)
    places[levels, features] = order
    limits = np.full(shape, np.inf, np.float32)
    limits[levels, features] = circuit.thresholds[features, indices]
    possible = np.ones(shape, np.uint8)
    if pixels:
        lowest = np.nan_to_num(np.clip(np.floor(limits) + 1, 0, 256), nan=256)
        limits, possible = np.minimum(lowest, 255).astype(np.uint8), (lowest < 256).astype(np.uint8)
    else:
        limits = np.ascontiguousarray(limits[:, : circuit.num_features])
    sizes = {"features": circuit.num_features, "levels": shape[0]}
    return {"limits": limits, "possible": possible, "places": places.view(np.int16)} | sizes


def _words(classes: int, places: int) -> int:
    """As many words to a place as shared memory holds."""
    room = torch.cuda.get_device_properties(torch.cuda.current_device()).shared_memory_per_block_optin
    needed = 4 * (places + classes * max(1, 32 // classes) * DIGITS + 3)
    if places > MOST_PLACES or needed > room:
        raise RuntimeError(
            f"the GPU engine keeps {places} signals at a time, but it has room for {min(MOST_PLACES, room // 4)}; "
            "simplify the circuit, or take device='cpu'"
        )
    return next(words for words in (4, 2, 1) if needed * words <= room)
