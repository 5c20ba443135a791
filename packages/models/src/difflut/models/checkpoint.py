"""Networks in files: description, weights, wiring, encoder and versions together."""

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from difflut.models.claims import Allowance, check_claims
from difflut.models.description import build_model, describe
from difflut.models.hardening import hardened, pack, unpack
from difflut.models.networks import LUTNetwork
from difflut.models.sealed import CheckpointError, load_sealed, save_sealed
from difflut.nodes import freeze
from difflut.registry import checked

FORMAT = 2
MAPPINGS = ("versions", "config", "state", "tables")
TENSORS = ("state", "tables")


@checked
def save_checkpoint(
    model: LUTNetwork, path: str | os.PathLike[str], training: Mapping[str, Any] | None = None, hard: bool = False
) -> None:
    """Writes a network to a file, whole or not at all, with a digest of all that is in it.

    Args:
        model: All its components registered.
        path: Replaced where it exists.
        training: State from which a training run continues: tensors and plain data.
        hard: Whether only what evaluation computes is kept, in a file of kilobytes: encoder, wiring, and tables as bits
            (see `hardened`).

    Raises:
        OSError: The file cannot be written, or the disk is full; the error names the path.
    """
    model = hardened(model) if hard else model
    state, tables = pack(model) if hard else (model.state_dict(), {})
    content = {
        "format": FORMAT,
        "versions": {"difflut": _version(), "torch": str(torch.__version__)},
        "config": describe(model),
        "state": state,
        "training": training,
        "frozen": [number for number, layer in enumerate(model.layers) if layer.is_frozen],
    }
    if hard:
        content["tables"] = tables
    save_sealed(content, path)


def load_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> LUTNetwork:
    """Builds the network of a file, in evaluation mode; its outputs are those of the saved one, bit for bit.

    Layers that were frozen are frozen again, so its relaxed form is the saved one's, too.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, is no checkpoint, has an unknown format, or holds no valid network.
    """
    content = read_checkpoint(path)
    held = sum(value.nbytes for key in TENSORS for value in content[key].values())
    try:
        check_claims(content["config"], held)
        with Allowance(held):
            model = build_model(content["config"])
            model.load_state_dict(unpack(model, content["state"], content["tables"]))
            freeze(model.layers[number] for number in content["frozen"])
    except Exception as error:  # a component may raise any error
        raise CheckpointError(f"{path}: its description and its weights do not fit this version: {error}") from error
    return model.to(device).eval()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a file's content after checking it; runs no code from it.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, no checkpoint, or of an unknown format.
    """
    content = load_sealed(path)
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is not int:
        raise CheckpointError(f"{path}: not a DiffLUT checkpoint; save one with save_checkpoint")
    if version != FORMAT:
        versions = content.get("versions")
        made_by = versions.get("difflut") if isinstance(versions, Mapping) else None
        raise CheckpointError(
            f"{path}: format {version} of difflut {made_by or 'unknown'}; this version reads format {FORMAT}"
        )
    content = {"tables": {}, "frozen": []} | content  # earlier files lack what is frozen, soft ones tables
    wrong = [key for key in MAPPINGS if not isinstance(content.get(key), Mapping)]
    wrong = wrong or [key for key in TENSORS if not all(isinstance(x, Tensor) for x in content[key].values())]
    if wrong or not isinstance(content.get("training"), Mapping | None):
        raise CheckpointError(f"{path}: not a DiffLUT checkpoint, its {(wrong or ['training'])[0]} is none")
    return content


def _version() -> str:
    for distribution in ("difflut", "difflut-models"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
