"""What every engine offers, and which one serves a circuit."""

from contextlib import suppress

import numpy as np

from difflut.circuits.circuit import Circuit

MOST_SHARED = 2**16  # LUTs; the signals of more do not fit into the shared memory of a GPU, so it is not tried


class Engine:
    """A circuit made ready to classify many samples; this one is the circuit itself, in numpy.

    Inputs are `(batch, *features)`. Bytes are compared with the thresholds as they are, `x > t` being `x > floor(t)`
    for them; all else is taken as float32, and NaN exceeds no threshold: the results are those of the circuit, bit by
    bit.

    Attributes:
        name: Name of the back end, for tables.
        threads: Threads of the CPU that it takes.
    """

    name = "numpy"
    threads = 1

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit

    def counts(self, x: np.ndarray) -> np.ndarray:
        """The count of each class: `(batch, classes)` integers."""
        return self.circuit.counts(self._checked(x))

    def classes(self, x: np.ndarray) -> np.ndarray:
        """The class of each sample, ties to the lowest: `(batch,)` integers."""
        return self.circuit.classes(self._checked(x))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """The logits of the network in evaluation mode: `(batch, classes)`, float32."""
        return self.counts(x).astype(np.float32) / np.float32(self.circuit.tau)

    def _checked(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        x = np.ascontiguousarray(x, np.uint8 if x.dtype == np.uint8 else np.float32)
        self.circuit.check_samples(x.shape)
        return x


def make_engine(circuit: Circuit, device: str = "cpu", threads: int | None = None) -> Engine:
    """The fastest engine there is on a device, see `Circuit.engine`.

    Raises:
        ValueError: There is none for the device.
    """
    if device == "cpu":
        from difflut.circuits.engine import cpu

        return cpu.CpuEngine(circuit, threads) if cpu.available() else Engine(circuit)
    if device == "cuda":
        from difflut.circuits.engine.cuda import CudaEngine, TooLargeError
        from difflut.circuits.engine.levels import LevelsEngine

        if circuit.num_luts <= MOST_SHARED:
            with suppress(TooLargeError):
                return CudaEngine(circuit)
        return LevelsEngine(circuit)
    raise ValueError(f"there is no engine for the device {device!r}; known: cpu, cuda")
