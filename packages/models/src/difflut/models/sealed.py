"""Files that carry a digest of all their content, written whole or not at all.

A sealed file is the archive that `torch.save` writes, with the digest as the archive's comment.
"""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

DIGEST = "sha256"
UNFINISHED = ".tmp"  # behind the name of a file that is being written, before the number of the process
COMMENT_SIZE = len(DIGEST) + 1 + 2 * hashlib.new(DIGEST).digest_size


class CheckpointError(ValueError):
    """A file from which no network can be loaded."""


def save_sealed(content: Any, path: str | os.PathLike[str]) -> None:
    """Writes tensors and plain data.

    Raises:
        OSError: The file cannot be written, or the disk is full; the error names the path.
    """
    archive = io.BytesIO()
    torch.save(content, archive)
    # The archive's last two bytes are the length of its comment.
    body = archive.getbuffer()
    body[-2:] = COMMENT_SIZE.to_bytes(2, "little")
    write_whole(path, body, _comment(body))


def load_sealed(path: str | os.PathLike[str]) -> Any:
    """Reads what `save_sealed` wrote, on the CPU; runs no code from it.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, or was not written by `save_sealed`.
    """
    try:
        data = Path(path).read_bytes()
    except IsADirectoryError as error:
        raise CheckpointError(f"{path}: a folder, not a file; name a checkpoint in it") from error
    body, comment = memoryview(data)[:-COMMENT_SIZE], data[-COMMENT_SIZE:]
    if comment != _comment(body):
        reason = "it is another than it carries" if comment.startswith(DIGEST.encode()) else "it carries none"
        raise CheckpointError(
            f"{path}: damaged or not a checkpoint of this version: the digest of its content is checked, and {reason}; "
            "use another checkpoint, or read it with the version that wrote it"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > len(data):
            raise ValueError(f"{len(data)} bytes that unpack to {unpacked}; checkpoints are not compressed")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # archives, pickles and tensors raise errors of many kinds
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({type(error).__name__}: {error})") from error


def write_whole(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
    """Writes a file, in place of the one that was there, whole or not at all.

    Raises:
        OSError: It cannot be written; the error names the path.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}{UNFINISHED}{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _comment(body: bytes | memoryview) -> bytes:
    return f"{DIGEST} {hashlib.new(DIGEST, body).hexdigest()}".encode()
