"""What the engines on a GPU share: arrays in, tensors or arrays out."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from difflut.circuits.circuit import Circuit
from difflut.circuits.engine import cpu
from difflut.circuits.engine.engine import Engine
from difflut.circuits.engine.sums import DeviceSums

WARP = 32
MOST_VOTES = 63 * WARP  # votes of a class that one warp counts at most


class GpuEngine(Engine):
    """Inputs are numpy arrays, or tensors, whose results are tensors on the GPU.

    Bytes and floats are told apart as on the CPU.

    Args:
        library: Function that compiles the kernels; it gives None where that cannot be.

    Raises:
        RuntimeError: There is no GPU, or no compiler.
    """

    def __init__(self, circuit: Circuit, library: Callable[[], ctypes.CDLL | None]) -> None:
        super().__init__(circuit)
        if not torch.cuda.is_available():
            raise RuntimeError("the GPU engine needs an NVIDIA GPU that torch can use; take device='cpu'")
        loaded = library() if cpu.available() else None
        if loaded is None:
            raise RuntimeError("the GPU engine could not be compiled, stderr says why; take device='cpu'")
        self._library = loaded
        self._offset = 0  # of counts
        self._sums = DeviceSums(circuit.sums, "cuda") if circuit.sums else None

    def counts(self, x: Any) -> Any:
        return self._run(x, "counts", (self.circuit.num_classes,)) - self._offset

    def classes(self, x: Any) -> Any:
        return self._run(x, "classes", ())

    def logits(self, x: Any) -> Any:
        counts = self.counts(x)
        if isinstance(counts, np.ndarray):
            return counts.astype(np.float32) / np.float32(self.circuit.tau)
        return counts.float() / self.circuit.tau

    def _launch(self, x: torch.Tensor, classes: int | None, counts: int | None, stream: int) -> int:
        """Starts the kernels for rows of bytes or floats; either address may be None. Returns CUDA's error, or 0."""
        raise NotImplementedError

    def _run(self, x: Any, output: str, shape: tuple[int, ...]) -> Any:
        if not isinstance(x, torch.Tensor):
            return self._run(torch.from_numpy(self._checked(x)), output, shape).cpu().numpy()
        x = x.to("cuda", torch.uint8 if x.dtype == torch.uint8 else torch.float32).contiguous()
        self.circuit.check_samples(x.shape)
        result = torch.empty(len(x), *shape, dtype=torch.int64, device=x.device)
        parts = self._sums.parts(x.flatten(1)) if self._sums else [(slice(None), x)]
        for rows, features in parts:
            self._compare(features, output, result[rows])
        return result

    def _compare(self, x: torch.Tensor, output: str, result: torch.Tensor) -> None:
        classes, counts = (result.data_ptr() if name == output else None for name in ("classes", "counts"))
        if len(x) and (code := self._launch(x, classes, counts, torch.cuda.current_stream().cuda_stream)):
            raise RuntimeError(f"the GPU engine could not be launched: CUDA error {code}")


def counted(classes: int, start: np.ndarray, warps: int = 1) -> dict[str, int]:
    """In how many parts the votes of a class are counted, each by a warp: enough for as many warps."""
    most = int(np.diff(start).max(initial=1))
    return {"classes": classes, "parts": max(-(-most // MOST_VOTES), -(-warps // classes))}
