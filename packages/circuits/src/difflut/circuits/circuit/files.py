"""Arrays in a file whose digest tells when it has been changed."""

import hashlib
import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

DIGEST = hashlib.sha256().digest_size
# A file may unpack to so many bytes for each of its own, and to some more, before any of them is believed.
UNPACKED, ROOM = 200, 2**24


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
    return unpacked_arrays(content)


def unpacked_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, which may be a stranger's: no code of it runs, and what it claims is not believed.

    Raises:
        ValueError: It is no .npz file, unpacks to far more than it is, or an array has not the bytes of its shape.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > ROOM + UNPACKED * len(content):
                raise ValueError(f"{len(content)} bytes that unpack to {size}")
            for member in members:
                _check_size(archive, member)
        return dict(np.load(io.BytesIO(content), allow_pickle=False))
    except Exception as error:  # archives, compression and headers of arrays raise errors of many kinds
        raise ValueError(f"no archive of arrays: {error}") from error


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuses an array whose shape is not that of its bytes, since memory is taken by the shape."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{member.filename} has the format {version}, not (1, 0)")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        needed, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if needed != there:
            raise ValueError(f"{member.filename} has {there} bytes, and its shape {shape} of {dtype} needs {needed}")
