import gzip
import pickle

import numpy as np
import pytest

from experiments.data import BadDatasetError, dataset_names, kept_rows, load_dataset
from experiments.data.files import IDX_FILES, read_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path))
    return tmp_path


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def idx_files(value=0):
    images, labels = np.full((10, 4, 5), value, np.uint8), np.arange(10, dtype=np.uint8)
    images[:, 0, 1] = labels
    return dict(zip(IDX_FILES, map(idx, (images, labels, images[:5], labels[:5])), strict=True))


def write(folder, files, rename=lambda name: name, pack=lambda data: data):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / rename(name)).write_bytes(pack(data))


@pytest.mark.parametrize(
    ("rename", "pack"),
    [
        (lambda name: name, bytes),
        (lambda name: name + ".gz", gzip.compress),
        (lambda name: name.replace("-idx", ".idx"), bytes),
        (lambda name: name.replace("-ubyte", ".ubyte") + ".gz", gzip.compress),
    ],
)
def test_idx_files_are_read_under_any_of_their_names(folder, rename, pack):
    write(folder / "mnist", idx_files(value=200), rename, pack)
    data = load_dataset("mnist", validation_fraction=0)
    assert data.x_train.shape == (10, 4, 5) and data.x_test.shape == (5, 4, 5)
    assert data.x_train[3].tolist() == [[200, 3, 200, 200, 200]] + [[200] * 5] * 3
    assert data.y_train.tolist() == list(range(10)) and data.y_test.tolist() == list(range(5))


def npy_files(folder, **others):
    generator, arrays = np.random.default_rng(0), {"x_train": (30, 4, 5), "x_test": (9, 4, 5)}
    arrays = {key: generator.integers(1, 255, shape, np.uint8) for key, shape in arrays.items()}
    arrays |= {"y_train": np.arange(30) % 3, "y_test": np.arange(9) % 3, **others}
    folder.mkdir()
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array)
    return arrays


def test_a_folder_of_npy_files_stays_on_the_disk(folder):
    arrays = npy_files(folder / "large")
    with kept_rows({}) as rows:
        data = load_dataset("large", validation_fraction=0)
    assert isinstance(rows["large"].x_train, np.memmap)
    assert np.shares_memory(data.x_train.numpy(), rows["large"].x_train)
    for key, array in arrays.items():
        assert np.array_equal(getattr(data, key).numpy(), array)
    assert len(data.x_val) == 0 == len(data.y_val) and "large" in dataset_names()


def test_another_process_maps_what_stays_on_the_disk_wherever_it_runs(folder, monkeypatch):
    arrays = npy_files(folder / "large")
    monkeypatch.setenv("DIFFLUT_DATA", ".")
    monkeypatch.chdir(folder)
    sent = pickle.dumps(read_file("large"))
    monkeypatch.chdir("/")
    rows = pickle.loads(sent)
    assert len(sent) < 400 and isinstance(rows.x_train, np.memmap) and rows.origin == "data set 'large' (large)"
    assert all(np.array_equal(getattr(rows, key), array) for key, array in arrays.items())
    (folder / "large" / "x_test.npy").unlink()
    with pytest.raises(BadDatasetError, match=r"large/x_test\.npy is not on .*; lay it there by numpy\.save"):
        pickle.loads(sent)


def test_what_cannot_stay_on_the_disk_is_refused(folder):
    npy_files(folder / "large")
    with pytest.raises(ValueError, match=r"stays on the disk.* dataset.validation_fraction must be 0, got 0\.1"):
        load_dataset("large")
    npy_files(folder / "real", x_test=np.ones((9, 4, 5), np.float32))
    with pytest.raises(BadDatasetError, match=r"x_test\.npy holds float32; .* must be uint8"):
        load_dataset("real", validation_fraction=0)
    (folder / "large" / "y_test.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadDatasetError, match=r"y_test\.npy cannot be read .*numpy\.save"):
        load_dataset("large", validation_fraction=0)
    (folder / "large" / "y_test.npy").unlink()
    with pytest.raises(BadDatasetError, match=r"y_test\.npy is not on .*numpy\.save"):
        load_dataset("large", validation_fraction=0)


@pytest.mark.parametrize("place", ["fashion_mnist", "FashionMNIST/raw"])
def test_idx_files_are_found_in_a_folder_of_their_own(folder, place):
    write(folder / place, idx_files())
    data = load_dataset("fashion_mnist")
    assert data.feature_shape == (4, 5) and data.class_names[0] == "T-shirt/top"


def test_loose_idx_files_are_taken_for_the_set_that_the_folder_is_named_after(tmp_path, monkeypatch):
    for place, value in (("fashion-mnist", 1), ("downloads", 2)):
        write(tmp_path / place, idx_files(value))
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path / "fashion-mnist"))
    assert load_dataset("fashion_mnist").x_train[0, 3, 3] == 1
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path / "downloads"))
    assert load_dataset("mnist").x_train[0, 3, 3] == 2
    assert read_file("fashion_mnist") is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"PK\3\4" + data[4:], "begins with 50 4b 03 04, an IDX file of its kind with 00 00 08 03"),
        (lambda data: data[:3] + b"\1" + data[4:], "begins with 00 00 08 01"),
        (lambda data: data[:-7], r"has 209 bytes; its header promises shape \(10, 4, 5\), so 216 bytes"),
        (lambda data: b"", "begins with"),
    ],
)
def test_a_damaged_idx_file_is_named(folder, damage, message):
    files = idx_files()
    files[IDX_FILES[0]] = damage(files[IDX_FILES[0]])
    write(folder / "mnist", files)
    with pytest.raises(BadDatasetError, match=f"mnist/train-images-idx3-ubyte .*{message}"):
        load_dataset("mnist")


def test_a_damaged_gzip_file_is_named(folder):
    write(folder / "mnist", idx_files(), lambda name: name + ".gz", lambda data: gzip.compress(data)[:-9])
    with pytest.raises(BadDatasetError, match=r"train-images-idx3-ubyte.gz cannot be unpacked"):
        load_dataset("mnist")


def test_missing_idx_files_are_named(folder):
    files = idx_files()
    del files["t10k-labels-idx1-ubyte"]
    write(folder / "mnist", files)
    with pytest.raises(BadDatasetError, match="lacks t10k-labels-idx1-ubyte"):
        load_dataset("mnist")


def test_idx_images_and_labels_must_have_as_many_rows(folder):
    files = idx_files()
    files["train-labels-idx1-ubyte"] = idx(np.arange(9, dtype=np.uint8))
    write(folder / "mnist", files)
    with pytest.raises(BadDatasetError, match=r"data set 'mnist' .*10 rows and y_train has shape \(9,\)"):
        load_dataset("mnist")


def test_an_archive_without_an_array_is_named_with_what_it_holds(folder):
    np.savez(folder / "mine.npz", x_train=np.zeros((2, 2)), y_train=[0, 1], extra=1)
    with pytest.raises(BadDatasetError, match=r"mine.npz lacks x_test, y_test; .* and holds x_train, y_train, extra"):
        load_dataset("mine")


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:100], lambda data: b"\x80\4" + data])
def test_a_damaged_archive_is_named(folder, damage):
    np.savez(folder / "whole.npz", x_train=np.zeros((20, 20)))
    (folder / "mine.npz").write_bytes(damage((folder / "whole.npz").read_bytes()))
    with pytest.raises(BadDatasetError, match=r"mine.npz is no .npz archive or is damaged"):
        load_dataset("mine")


def test_a_flipped_byte_in_an_archive_names_the_array(folder):
    np.savez(folder / "mine.npz", x_train=np.zeros((500, 4)), y_train=np.zeros(500), x_test=[[0]], y_test=[0])
    data = bytearray((folder / "mine.npz").read_bytes())
    data[5000] ^= 255
    (folder / "mine.npz").write_bytes(data)
    with pytest.raises(BadDatasetError, match="the array x_train cannot be read"):
        load_dataset("mine")


def test_a_single_array_is_no_archive(folder):
    with open(folder / "mine.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BadDatasetError, match="holds a single array"):
        load_dataset("mine")


@pytest.mark.parametrize("key", ["y_train", "class_names"])
def test_pickled_objects_are_refused_by_array(folder, key):
    arrays = {"x_train": np.zeros((2, 2)), "y_train": np.array([0, 1]), "x_test": np.zeros((1, 2)), "y_test": [0]}
    np.savez(folder / "mine.npz", **(arrays | {key: np.array(["a", "b"], dtype=object)}))
    with pytest.raises(BadDatasetError, match=f"the array {key} cannot be read .*text as an array of type str"):
        load_dataset("mine")


def test_further_arrays_are_not_opened(folder):
    arrays = {"x_train": np.zeros((2, 2)), "y_train": [0, 1], "x_test": np.zeros((1, 2)), "y_test": [0]}
    np.savez(folder / "mine.npz", **arrays, source=np.array([{}], dtype=object))
    assert load_dataset("mine", validation_fraction=0).num_classes == 2
