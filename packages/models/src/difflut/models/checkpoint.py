"""Networks in files: description, weights, wiring, encoder and versions together."""

import os
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from difflut.models.description import build_model, describe
from difflut.models.network import LUTNetwork

FORMAT = 1


class CheckpointError(ValueError):
    """A file from which no network can be loaded."""


def save_checkpoint(model: LUTNetwork, path: str | os.PathLike, training: Mapping[str, Any] | None = None) -> None:
    """Writes a network to a file, whole or not at all.

    Args:
        model: All its components registered.
        path: Replaced where it exists.
        training: What a training run needs in order to continue: tensors and plain data.
    """
    content = {
        "format": FORMAT,
        "versions": {"difflut": _version(), "torch": str(torch.__version__)},
        "config": describe(model),
        "state": model.state_dict(),
        "training": training,
    }
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike, device: str | torch.device = "cpu") -> LUTNetwork:
    """Builds the network of a file, in evaluation mode; its outputs are those of the saved one, bit for bit.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, no checkpoint, or of an unknown format.
    """
    content = read_checkpoint(path)
    try:
        model = build_model(content["config"])
        model.load_state_dict(content["state"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its description and its weights do not fit this version: {error}") from error
    return model.to(device).eval()


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a file's content after checking it; runs no code from it.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, no checkpoint, or of an unknown format.
    """
    try:
        # torch does not verify the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise CheckpointError(f"{path}: damaged, the checksum of {damaged} is wrong; use another checkpoint")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path}: not a DiffLUT checkpoint; save one with save_checkpoint")
    if content["format"] != FORMAT:
        made_by = content.get("versions", {}).get("difflut", "unknown")
        raise CheckpointError(
            f"{path}: format {content['format']} of difflut {made_by}; this version reads format {FORMAT}"
        )
    return content


def _version() -> str:
    for distribution in ("difflut", "difflut-models"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
