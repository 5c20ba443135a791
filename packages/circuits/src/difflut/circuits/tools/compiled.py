"""The written C file, compiled and called from Python."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-march=native")


class CompiledCircuit:
    """What `write_c` wrote, compiled by the system's C compiler.

    `CompiledCircuit("circuit.c", 784, 10).counts_and_classes(x)` classifies the rows of an array.

    Args:
        path: The C file.
        num_features: Number of features of the circuit.
        num_classes: Number of classes of the circuit.
        flags: Flags of the compiler.
        prefix: Beginning of the names of the functions, as `write_c` was given it.

    Raises:
        FileNotFoundError: There is no C compiler.
        RuntimeError: It refuses the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_features: int,
        num_classes: int,
        flags: Sequence[str] = FLAGS,
        prefix: str = "",
    ) -> None:
        self.num_features, self.num_classes = num_features, num_classes
        # A path that was loaded once is not read again, so each library has a path of its own.
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, "circuit.so")
            _compile(Path(path), library, flags)
            loaded = ctypes.CDLL(str(library))
        self._predict = {kind: loaded[f"{prefix}predict_{kind}"] for kind in ("f32", "u8")}

    def counts_and_classes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts `(batch, classes)` and classes `(batch,)` of inputs `(batch, *features)`; uint8 is taken as it is.

        Raises:
            ValueError: The inputs have another number of features.
        """
        integer = np.asarray(x).dtype == np.uint8
        x = np.ascontiguousarray(x, np.uint8 if integer else np.float32)
        if x[0:1].size not in (0, self.num_features):
            raise ValueError(f"the circuit has {self.num_features} features, x has {x[0].size} of shape {x.shape[1:]}")
        counts = np.empty((len(x), self.num_classes), np.int32)
        classes = np.empty(len(x), np.int32)
        predict = self._predict["u8" if integer else "f32"]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, counts, classes)]
        if predict(pointers[0], ctypes.c_size_t(len(x)), *pointers[1:]):
            raise MemoryError("the compiled circuit found no memory for its signals")
        return counts, classes


def find_compiler() -> str:
    """The C compiler that CC names, or the first that there is.

    Raises:
        FileNotFoundError: There is none.
    """
    compiler = os.environ.get("CC") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler found (cc, gcc or clang); install one, or name it in CC")
    return compiler


def _compile(source: Path, library: Path, flags: Sequence[str]) -> None:
    command = [find_compiler(), *flags, "-shared", "-fPIC", "-o", str(library), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
