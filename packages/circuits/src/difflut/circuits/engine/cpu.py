"""The CPU engine: see `kernels/engine.cpp`."""

import ctypes
import os
import weakref
from functools import cache
from typing import Any

import numpy as np

from difflut.circuits.arithmetic.comparisons import encoder_bits
from difflut.circuits.circuit import Circuit
from difflut.circuits.engine.encoding import LANES, Encoding, encoding
from difflut.circuits.engine.engine import Engine
from difflut.circuits.engine.netlist import Netlist, netlist
from difflut.kernels import jit

FLAGS = ("-O3", "-march=native", "-fopenmp")
_INTEGERS = ("features", "comparisons", "groups", "origin", "nodes", "classes", "words", "assemble")
_ARRAYS = {
    "feature": np.int32, "limit": np.float32, "place": np.int32, "start": np.int64, "lane_feature": np.uint8,
    "pixel": np.uint8, "possible": np.uint64, "part": np.int32, "wiring": np.int32, "tables": np.uint64,
    "output_start": np.int64, "outputs": np.int32, "bias": np.int64,
}  # fmt: skip


class Plan(ctypes.Structure):
    """What `kernels/engine.h` calls a plan."""

    _fields_ = [(name, ctypes.c_int64) for name in _INTEGERS] + [(name, ctypes.c_void_p) for name in _ARRAYS]


def available() -> bool:
    """Whether the kernels are there; the first call compiles them."""
    return library() is not None


@cache
def library(extra_flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be compiled."""
    loaded = jit.load("engine", ("engine.cpp",), FLAGS + extra_flags)
    if loaded is not None:
        pointer, integer, plan = ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(Plan)
        loaded.difflut_engine_create.argtypes = [plan]
        loaded.difflut_engine_create.restype = pointer
        loaded.difflut_engine_destroy.argtypes = [pointer]
        loaded.difflut_engine_assembled.argtypes = [pointer]
        for size in (loaded.difflut_engine_words, loaded.difflut_engine_nodes):
            size.argtypes, size.restype = [pointer], integer
        loaded.difflut_engine_chunks.argtypes = [plan, *[integer] * 4, pointer]
        loaded.difflut_engine_chunks.restype = pointer
        loaded.difflut_engine_take_chunks.argtypes = [pointer] * 6
        loaded.difflut_engine_levels.argtypes, loaded.difflut_engine_levels.restype = [plan, pointer], pointer
        loaded.difflut_engine_take_levels.argtypes = [pointer] * 7
        loaded.difflut_engine_run.argtypes = [pointer, pointer, integer, integer, pointer, pointer, integer]
        loaded.difflut_engine_run.restype = None
    return loaded


def compiled(extra_flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        RuntimeError: They cannot be compiled.
    """
    loaded = library(extra_flags)
    if loaded is None:
        raise RuntimeError("the CPU engine could not be compiled, stderr says why; take the circuit itself")
    return loaded


def plan(net: Netlist, classes: int, arranged: Encoding | None = None, words: int = 0, assemble: bool = False) -> Plan:
    """A netlist as the C++ functions take it; its encoding is needed to run it there."""
    values: dict[str, Any] = vars(net.nodes) | vars(net) | (vars(arranged) if arranged else {})
    sizes = {"origin": net.origin, "nodes": len(net.nodes.tables), "classes": classes, "words": words}
    if arranged:
        sizes |= {"comparisons": len(arranged.limit), "groups": len(arranged.start), "features": arranged.features}
    arrays = {name: np.ascontiguousarray(values[name], dtype) for name, dtype in _ARRAYS.items() if name in values}
    made = Plan(**sizes, assemble=assemble, **{name: array.ctypes.data for name, array in arrays.items()})
    made.arrays = arrays  # they must live as long as the plan
    return made


class CpuEngine(Engine):
    """Blocks of samples in vectors of bits, on several threads.

    Args:
        circuit: Simplified or not; what is quick to simplify is simplified here.
        threads: None is one for each core that the process may use.
        bits: Bits of a block: 64, 256 or 512; None is what a register of this machine holds, less for large circuits.
        assemble: Whether machine code is made, where it can be (AVX-512, blocks of 512), rather than interpreted.
        extra_flags: Further flags of the compiler.

    Attributes:
        num_nodes: Tables that are left to compute after what is quick to simplify.

    Raises:
        ValueError: A block cannot have so many bits.
    """

    def __init__(
        self,
        circuit: Circuit,
        threads: int | None = None,
        bits: int | None = None,
        assemble: bool = True,
        extra_flags: tuple[str, ...] = (),
    ) -> None:
        super().__init__(circuit)
        self._library = compiled(extra_flags)
        self.threads = threads or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0])
        if bits not in (None, 64, 256, 512):
            raise ValueError(f"bits={bits}: a block has 64, 256 or 512 samples")
        self._handle = self._create(bits or 0, assemble)
        weakref.finalize(self, self._library.difflut_engine_destroy, self._handle)
        self.num_nodes: int = self._library.difflut_engine_nodes(self._handle)
        how = "machine code" if self._library.difflut_engine_assembled(self._handle) else "interpreted"
        self.name = f"CPU engine ({64 * self._library.difflut_engine_words(self._handle)} bits, {how})"

    def counts(self, x: np.ndarray) -> np.ndarray:
        counts = np.empty((len(x), self.circuit.num_classes), np.int64)
        self._run(x, None, counts)
        return counts - self._offset

    def classes(self, x: np.ndarray) -> np.ndarray:
        classes = np.empty(len(x), np.int64)
        self._run(x, classes, None)
        return classes

    def _create(self, bits: int, assemble: bool) -> int:
        arranged, places = encoding(self.circuit, encoder_bits(self.circuit).comparisons)
        net = netlist(self.circuit, places, LANES * len(arranged.start))
        self._offset = net.offset
        made = plan(net, self.circuit.num_classes, arranged, words=bits // 64, assemble=assemble)
        return self._library.difflut_engine_create(made)

    def _checked(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype != np.float64 or self.circuit.sums is not None:
            return super()._checked(x)
        self.circuit.check_samples(x.shape)
        return np.ascontiguousarray(x)  # rounded to float32 as it is read

    def _run(self, x: np.ndarray, classes: np.ndarray | None, counts: np.ndarray | None) -> None:
        x = self._checked(x)
        if self.circuit.sums is None:
            return self._compare(x, classes, counts)
        for rows, features in self.circuit.sums.parts(x):
            results = (array if array is None else array[rows] for array in (classes, counts))
            self._compare(np.ascontiguousarray(features.T), *results)

    def _compare(self, x: np.ndarray, classes: np.ndarray | None, counts: np.ndarray | None) -> None:
        results = [array if array is None else array.ctypes.data for array in (classes, counts)]
        self._library.difflut_engine_run(self._handle, x.ctypes.data, x.itemsize, len(x), *results, self.threads)
