"""Arrays in a file whose digest tells when it has been changed."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

DIGEST = hashlib.sha256().digest_size


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, Any]) -> None:
    """Writes a compressed .npz file; its comment, the last bytes, is the SHA-256 of all before it.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = bytes(DIGEST)
    content = buffer.getvalue()[:-DIGEST]
    try:
        Path(path).write_bytes(content + hashlib.sha256(content).digest())
    except OSError as error:  # the error of a full disk does not name the file
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote.

    Raises:
        OSError: There is no such file.
        ValueError: The file is another one, or has been changed.
    """
    content = Path(path).read_bytes()
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        raise ValueError("its digest is not that of its content")
    return dict(np.load(io.BytesIO(content), allow_pickle=False))
