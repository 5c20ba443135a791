"""Data sets from files: .npz archives, folders of .npy files, and IDX files as the MNIST family is distributed."""

import gzip
import math
import os
import re
import socket
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from experiments.data.rows import BadDatasetError, DatasetNotFoundError, Rows

FOLDER_VARIABLE = "DIFFLUT_DATA"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
TORCHVISION_FOLDERS = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}


def data_folder() -> Path | None:
    """The folder that the environment variable names."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder).expanduser() if folder else None


def file_name(name: str) -> str:
    """The file of a data set: `openml:42468` is `openml-42468.npz`."""
    return re.sub(r"[^\w.-]+", "-", name) + ".npz"


def read_file(name: str) -> Rows | None:
    """The data set's rows, if it has a file in the data folder.

    Raises:
        BadDatasetError: It has one that cannot be read, or is not complete.
    """
    folder = data_folder()
    if folder is None:
        return None
    # The name itself, then the name without characters that file systems or shells do not take.
    for file in (f"{name}.npz", file_name(name)):
        if Path(file).name == file and (folder / file).is_file():
            return read_npz(name, folder / file)
    if (mapped := folder / Path(file_name(name)).stem).is_dir() and (mapped / f"{ARRAYS[0]}.npy").is_file():
        return map_folder(f"data set {name!r} ({mapped})", mapped)
    for candidate in _idx_folders(name, folder):
        if any(_idx_file(candidate, file) for file in IDX_FILES):
            return read_idx_folder(name, candidate)
    return None


def not_found(name: str, why_not_fetched: str) -> DatasetNotFoundError:
    """The error for a data set that is not here: both ways to get it, and what went wrong in each."""
    folder = data_folder()
    path = (folder or Path("FOLDER")) / file_name(name)
    state = f"there is no {path}" if folder else f"{FOLDER_VARIABLE} is not set"
    idx = f", or its IDX files in {path.with_suffix('')}/" if name in TORCHVISION_FOLDERS else ""
    remedy = f"write {path} with the arrays {', '.join(ARRAYS)} (and class_names){idx}"
    if folder is None:
        remedy += f", and set {FOLDER_VARIABLE}=FOLDER"
    return DatasetNotFoundError(
        f"data set {name!r} was not found\n  in a file: {state}; {remedy}\n  through scikit-learn: {why_not_fetched}"
    )


def read_npz(name: str, path: Path) -> Rows:
    """The rows in an .npz archive; arrays that hold pickled objects are refused.

    Raises:
        BadDatasetError: It is none, is damaged, or lacks an array.
    """
    # numpy leaves a damaged file open, so it is not asked to open it.
    with path.open("rb") as file:
        archive = _archive(file, path)
        missing = [key for key in ARRAYS if key not in archive]
        if missing:
            raise BadDatasetError(
                f"{path} lacks {', '.join(missing)}; it must hold {', '.join(ARRAYS)}, and holds {', '.join(archive)}"
            )
        keys = [*ARRAYS, *(key for key in ("class_names", "feature_names") if key in archive)]
        arrays = {key: _array(archive, key, path) for key in keys}
    x_train, y_train, x_test, y_test = (arrays.pop(key) for key in ARRAYS)
    names = {key: array.astype(str).tolist() for key, array in arrays.items()}
    return Rows(f"data set {name!r} ({path})", x_train, y_train, x_test, y_test, **names)


def _archive(file: BinaryIO, path: Path) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadDatasetError(f"{path} is no .npz archive or is damaged ({error}); replace or delete it") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise BadDatasetError(f"{path} holds a single array; write it with numpy.savez and {', '.join(ARRAYS)}")
    return archive


def _array(archive: np.lib.npyio.NpzFile, key: str, path: Path) -> np.ndarray:
    try:
        return archive[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadDatasetError(
            f"{path}: the array {key} cannot be read ({error}); write the file again, text as an array of type str"
        ) from error


class MappedRows(Rows):
    """Rows whose inputs stay on the disk: another process maps the files, wherever it runs, and is sent no content."""

    def __reduce__(self) -> tuple[Any, ...]:
        return map_folder, (self.origin, Path(self.x_train.filename).parent)  # type: ignore[attr-defined]


def map_folder(origin: str, folder: Path) -> Rows:
    """The rows in the four .npy files of a folder; inputs, which must be uint8, stay on the disk until they are used.

    Raises:
        BadDatasetError: A file is missing or damaged, or inputs are of another type.
    """
    arrays = []
    for key in ARRAYS:
        path = folder.resolve() / f"{key}.npy"
        try:
            # Private pages: what would be written to them never reaches the file.
            arrays.append(np.load(path, mmap_mode="c" if key.startswith("x") else None, allow_pickle=False))
        except FileNotFoundError as error:
            raise BadDatasetError(f"{path} is not on {socket.gethostname()}; lay it there by numpy.save") from error
        except (OSError, ValueError, EOFError) as error:
            raise BadDatasetError(f"{path} cannot be read ({error}); write it with numpy.save") from error
        if key.startswith("x") and arrays[-1].dtype != np.uint8:
            raise BadDatasetError(f"{path} holds {arrays[-1].dtype}; inputs that stay on the disk must be uint8")
    return MappedRows(origin, *arrays)


def read_idx_folder(name: str, folder: Path) -> Rows:
    """The rows in the four IDX files of a folder.

    Raises:
        BadDatasetError: A file is missing or damaged.
    """
    paths = {file: path for file in IDX_FILES if (path := _idx_file(folder, file))}
    if missing := [file for file in IDX_FILES if file not in paths]:
        raise BadDatasetError(f"{folder} has some IDX files of {name!r} and lacks {', '.join(missing)}")
    x_train, y_train, x_test, y_test = (
        read_idx(path, rank) for path, rank in zip(paths.values(), (3, 1, 3, 1), strict=True)
    )
    return Rows(f"data set {name!r} ({folder})", x_train, y_train, x_test, y_test)


def read_idx(path: Path, rank: int) -> np.ndarray:
    """The bytes of an IDX file of `rank` dimensions, zipped or not.

    Raises:
        BadDatasetError: It is none, or damaged.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadDatasetError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    magic, header = bytes((0, 0, 8, rank)), 4 + 4 * rank
    if data[:4] != magic:
        raise BadDatasetError(f"{path} begins with {data[:4].hex(' ')}, an IDX file of its kind with {magic.hex(' ')}")
    shape = tuple(int.from_bytes(data[start : start + 4], "big") for start in range(4, header, 4))
    if len(data) != header + math.prod(shape):
        raise BadDatasetError(
            f"{path} has {len(data)} bytes; its header promises shape {shape}, so {header + math.prod(shape)} bytes"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def _idx_folders(name: str, folder: Path) -> list[Path]:
    if name not in TORCHVISION_FOLDERS:
        return []
    folders = [folder / name, folder / TORCHVISION_FOLDERS[name]]
    # Loose files do not say whose they are: only the folder's name tells Fashion-MNIST from MNIST.
    loose = "fashion_mnist" if "fashion" in folder.name.lower() else "mnist"
    return [*folders, folder] if name == loose else folders


def _idx_file(folder: Path, file: str) -> Path | None:
    # Some copies of these files have a dot in the place of a dash.
    stems = (file, file.replace("-idx", ".idx"), ".".join(file.rsplit("-", 1)))
    candidates = [folder / (stem + ending) for stem in stems for ending in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)
