"""A trained network in a folder: the files, and what they hold.

card.json      what the model is: data, accuracy, cost, licence, the command that made it, and the digest of each file
best.pt        the network, a hard checkpoint
circuit.npz    its circuit; a large one is left out, and loading makes it from the network
vectors.npz    test inputs, their classes, and the votes that the network counts for them
config.gin, result.json    as in the folder of a run, so that jobs read a model as they read a run
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from difflut.circuits import Circuit
from difflut.circuits.circuit.files import unpacked_arrays
from difflut.models import LUTNetwork, load_checkpoint, save_checkpoint

CARD, NETWORK, CIRCUIT, VECTORS = "card.json", "best.pt", "circuit.npz", "vectors.npz"
LARGEST_CIRCUIT = 2**18  # bytes: larger circuits would make the wheel large


class ModelError(ValueError):
    """A model that cannot be loaded."""


@dataclass(frozen=True, eq=False, repr=False)
class Pretrained:
    """A trained network, ready to classify.

    Attributes:
        card: Facts of the model: `name`, `description`, `dataset`, `classes`, `accuracy` on `samples` test rows, `luts`
            and their parts, `licence`, `data_licence`, `command` that made it, and the digests.
        network: Network in evaluation mode; it may be trained on.
        circuit: Circuit of the same function.
        x: Test inputs: `(vectors, *features)`.
        y: Their classes: `(vectors,)`.
        counts: The votes of each class for them: `(vectors, classes)`.
    """

    card: Mapping[str, Any]
    network: LUTNetwork
    circuit: Circuit
    x: np.ndarray
    y: np.ndarray
    counts: np.ndarray

    @property
    def name(self) -> str:
        return str(self.card["name"])

    def __repr__(self) -> str:
        return f"Pretrained({self.name!r}: {self.card.get('description', 'no description')})"


def write_model(
    folder: Path, network: LUTNetwork, circuit: Circuit, card: Mapping[str, Any], x: np.ndarray, y: np.ndarray
) -> Path:
    """Writes a model to a folder, which is made.

    Args:
        folder: Folder to write to. Files that it already has become part of the model, with their digests in the card.
        network: Trained network.
        circuit: Circuit of the same function, simplified.
        card: Facts of the model.
        x: Test inputs: `(vectors, *features)`.
        y: Their classes: `(vectors,)`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(network, folder / NETWORK, hard=True)
    circuit.save(folder / CIRCUIT)
    if (folder / CIRCUIT).stat().st_size > LARGEST_CIRCUIT:
        (folder / CIRCUIT).unlink()
    np.savez_compressed(folder / VECTORS, x=x, y=y.astype(np.int64), counts=circuit.counts(x).astype(np.int32))
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CARD)
    text = json.dumps({**card, "sha256": {path.name: _digest(path.read_bytes()) for path in files}}, indent=2)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return folder


def read_model(folder: Path) -> Pretrained:
    """Reads what `write_model` wrote; runs no code from the files.

    Raises:
        ModelError: A file is missing, its digest is not that in the card, or it holds no part of a model.
    """
    card = _card(folder / CARD)
    contents = {name: _checked(folder / name, digest) for name, digest in card["sha256"].items()}
    try:
        network = load_checkpoint(folder / NETWORK)
        circuit = Circuit.load(folder / CIRCUIT) if CIRCUIT in contents else Circuit.from_model(network)
        x, y, counts = _vectors(circuit, **unpacked_arrays(contents[VECTORS]))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{folder}: its card fits the files, and these are no model: {error}") from error
    return Pretrained(card, network, circuit, x, y, counts)


def _vectors(
    circuit: Circuit, x: np.ndarray, y: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The test vectors, checked."""
    rows = x.shape[:1]
    sizes = (math.prod(x.shape[1:]), *y.shape, *counts.shape)
    if not rows or sizes != (circuit.sample_size, *rows, *rows, circuit.num_classes):
        raise ValueError(f"{VECTORS} has x {x.shape}, y {y.shape} and counts {counts.shape}, not those of the circuit")
    return x, y, counts


def _card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); publish the run again") from error
    digests = card.get("sha256") if isinstance(card, dict) else None
    if not isinstance(digests, dict) or not {NETWORK, VECTORS} <= digests.keys():
        raise ModelError(f"{path}: no card of a model, as it has no digests of {NETWORK} and {VECTORS}")
    if wrong := [name for name in digests if name != Path(name).name]:
        raise ModelError(f"{path}: no card of a model, as {wrong[0]!r} is no file beside it")
    return card


def _checked(path: Path, digest: str) -> bytes:
    """The content of a file of a model."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: missing, though the model's card has it; publish the run again") from error
    if _digest(content) != digest:
        raise ModelError(f"{path}: damaged, its digest is not that of the model's card; install or publish it again")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
