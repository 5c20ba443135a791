import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
import torch

from difflut.registry import DATASETS, register_dataset
from experiments.data import BadDatasetError, DatasetNotFoundError, Rows, dataset_names, load_dataset


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    def no_network(**options):
        raise OSError("no network in tests")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", no_network)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def table(rows=20, seed=0, **changes):
    random = np.random.default_rng(seed)
    arrays = {
        "x_train": random.normal(size=(rows, 3)),
        "y_train": np.arange(rows) % 2,
        "x_test": random.normal(size=(6, 3)),
        "y_test": np.arange(6) % 2,
    }
    return arrays | changes


def openml(monkeypatch, x, target, feature_names=None, categories=None):
    asked = []

    def fetch(**options):
        asked.append(options)
        names = feature_names or [f"f{index}" for index in range(x.shape[1])]
        return SimpleNamespace(data=x, target=target, feature_names=names, categories=categories)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    return asked


def test_digits_keep_their_pixels_and_are_split_in_three():
    data = load_dataset("digits", validation_fraction=0.1, seed=3)
    assert data.x_train.shape == (1293, 8, 8) and data.x_val.shape == (144, 8, 8) and data.x_test.shape == (360, 8, 8)
    assert data.x_train.dtype == torch.uint8 and data.x_train.max() == 16
    assert data.y_test.dtype == torch.int64
    assert data.num_classes == 10 and data.feature_shape == (8, 8) and data.class_names == list("0123456789")
    assert torch.bincount(data.y_test).min() >= 34


def test_a_network_that_fails_is_told_once(monkeypatch, recwarn):
    def fetch(**options):
        warnings.warn("A network error occurred while downloading. Retrying...", stacklevel=2)
        raise OSError("unknown host")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(DatasetNotFoundError, match=r"OpenML 554 was not fetched \(unknown host\)"):
        load_dataset("mnist")
    assert not [one for one in recwarn if "network error" in str(one.message)]


@pytest.mark.parametrize("name", ["my data", "a (copy)", "données", "x,y;z", "-dash", "100%"])
def test_a_file_is_found_by_its_name_whatever_signs_it_has(folder, name):
    np.savez(folder / f"{name}.npz", **table())
    assert name in dataset_names() and load_dataset(name).name == name


def test_a_name_reaches_no_file_outside_the_folder(folder):
    np.savez(folder.parent / "outside.npz", **table())
    with pytest.raises(DatasetNotFoundError):
        load_dataset("../outside")


def test_columns_of_text_are_told_as_such(monkeypatch):
    def fetch(**options):
        raise ValueError("STRING attributes are not supported for array representation. Try as_frame=True")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(BadDatasetError, match=r"'openml:179' \(OpenML 179\) has columns of text, .*openml-179\.npz"):
        load_dataset("openml:179")


def test_a_set_that_openml_has_not_is_not_said_to_need_the_network(monkeypatch):
    def fetch(**options):
        raise ValueError("No active dataset nothing found.")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(DatasetNotFoundError, match="OpenML has no nothing that can be used") as error:
        load_dataset("openml:nothing")
    assert "network access" not in str(error.value)


def test_training_and_validation_rows_are_disjoint_and_complete(folder):
    x = np.arange(50, dtype=np.float32)[:, None]
    np.savez(folder / "mine.npz", **table(x_train=x, y_train=np.arange(50) % 2, x_test=x[:4], y_test=[0, 1, 0, 1]))
    data = load_dataset("mine", validation_fraction=0.3, seed=1)
    assert len(data.x_val) == 15
    assert sorted(torch.cat([data.x_train, data.x_val]).flatten().tolist()) == list(range(50))
    assert torch.equal(data.x_train.flatten().long() % 2, data.y_train)
    assert torch.equal(data.x_val.flatten().long() % 2, data.y_val)


def test_the_seed_decides_the_validation_rows_and_never_the_test_rows():
    first, again, other = (load_dataset("digits", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.x_val, again.x_val) and not torch.equal(first.x_val, other.x_val)
    assert torch.equal(first.x_test, other.x_test) and torch.equal(first.y_test, other.y_test)


def test_no_validation_rows_on_request():
    data = load_dataset("digits", validation_fraction=0)
    assert len(data.x_val) == 0 and len(data.x_train) == 1437


def test_a_validation_fraction_of_one_is_refused():
    with pytest.raises(ValueError, match="below 1, got 1"):
        load_dataset("digits", validation_fraction=1)


def test_to_moves_every_tensor_and_keeps_the_rest():
    moved = load_dataset("digits").to("meta")
    assert {moved.x_train.device.type, moved.y_val.device.type, moved.y_test.device.type} == {"meta"}
    assert moved.name == "digits" and moved.num_classes == 10


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["b", "a"] * 10), ["a", "b"]),
        (np.array(["10", "9"] * 10), ["9", "10"]),
        (np.array([2.0, -1.0] * 10), ["-1", "2"]),
        (np.array([True, False] * 10), ["0", "1"]),
        (np.array([7, 3] * 10, dtype=np.uint8)[:, None], ["3", "7"]),
    ],
)
def test_labels_of_any_kind_become_indices_of_sorted_names(folder, labels, names):
    np.savez(folder / "mine.npz", **table(y_train=labels, y_test=labels[:6]))
    data = load_dataset("mine", validation_fraction=0)
    assert data.class_names == names
    assert data.y_train.tolist() == [1, 0] * 10 and data.y_test.tolist() == [1, 0] * 3


def test_class_names_in_the_file_name_the_indices(folder):
    np.savez(folder / "mine.npz", **table(class_names=np.array(["no", "yes", "never seen"])))
    data = load_dataset("mine")
    assert data.class_names == ["no", "yes", "never seen"] and data.num_classes == 3


def test_a_file_comes_before_the_source_of_its_name_and_brings_the_known_class_names(folder):
    images = np.zeros((20, 4, 4), np.uint8)
    np.savez(folder / "fashion_mnist.npz", **table(x_train=images, x_test=images[:6]))
    data = load_dataset("fashion_mnist")
    assert data.feature_shape == (4, 4) and data.class_names[9] == "Ankle boot"


def test_names_are_those_of_the_sources_and_of_the_files(folder):
    np.savez(folder / "mine.npz", **table())
    assert {"digits", "mnist", "cifar10", "jsc_openml", "phoneme", "mine"} <= set(dataset_names())


def test_one_function_adds_a_data_set():
    @register_dataset("ramp")
    def ramp(cache_dir):
        return Rows("ramp", **table())

    try:
        assert load_dataset("ramp").feature_shape == (3,)
        with pytest.raises(ValueError, match=r"dataset 'ramp' is already registered as .*ramp.*replace=True"):
            register_dataset("ramp")(len)
    finally:
        del DATASETS._components["ramp"]


def test_an_unknown_name_suggests_the_closest():
    with pytest.raises(DatasetNotFoundError, match=r"'minst'; did you mean 'mnist'.*openml:ID"):
        load_dataset("minst")


@pytest.mark.parametrize("ending", ["npz", "npy", "csv", "tsv"])
def test_a_name_with_the_ending_of_a_file_is_told_the_name_without_it(ending, folder, monkeypatch):
    with pytest.raises(DatasetNotFoundError, match=rf"of your own is 'my\.set', the file my\.set\.npz .*\({folder}\)"):
        load_dataset(f"my.set.{ending}")
    monkeypatch.delenv("DIFFLUT_DATA")
    with pytest.raises(DatasetNotFoundError, match=r"DIFFLUT_DATA names \(not set\)"):
        load_dataset(f"my.set.{ending}")


def test_a_missing_data_set_names_both_ways_and_what_failed_in_each(folder):
    with pytest.raises(DatasetNotFoundError) as error:
        load_dataset("mnist")
    for part in (str(folder / "mnist.npz"), "x_train, y_train, x_test, y_test", "IDX", "OpenML 554", "no network in"):
        assert part in str(error.value)


def test_a_missing_data_set_says_so_if_no_folder_is_set(monkeypatch):
    monkeypatch.delenv("DIFFLUT_DATA")
    with pytest.raises(DatasetNotFoundError, match=r"DIFFLUT_DATA is not set; write FOLDER/phoneme\.npz"):
        load_dataset("phoneme")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.array([[1, np.nan, 3]] * 20)}, r"1 of 3 columns: 1 \(20\)"),
        ({"x_test": np.array([[np.inf, 2, 3]] * 6), "feature_names": ["a", "b", "c"]}, r"columns: a \(6\)"),
        ({"x_train": np.full((20, 3), 1e300)}, "infinite values in 3 of 3 columns"),
        ({"x_train": np.array([["a", "b", "c"]] * 20)}, "features are of type <U1"),
        ({"y_train": np.array([0.5] * 20)}, "20 of 26 labels are no whole numbers, such as 0.5"),
        ({"y_test": np.array([np.nan] * 6)}, "6 of 26 labels are missing"),
        ({"y_train": np.arange(19)}, r"x_train has 20 rows and y_train has shape \(19,\)"),
        ({"x_test": np.zeros((6, 4))}, r"x_train has shape \(3,\), a row of x_test \(4,\)"),
        ({"x_test": np.zeros((0, 3)), "y_test": np.zeros(0)}, r"x_test has shape \(0, 3\)"),
        ({"class_names": np.array(["only"])}, "labels go from 0 to 1, but class_names has entries for 0 to 0"),
        ({"y_train": np.array(["a", "b"] * 10), "class_names": np.array(["a"])}, "'0' is not among class_names"),
    ],
)
def test_unusable_rows_are_refused_by_name_before_training(folder, changes, message):
    np.savez(folder / "mine.npz", **table(**changes))
    with pytest.raises(BadDatasetError, match=f"data set 'mine' .*{message}"):
        load_dataset("mine")


def test_openml_is_asked_once_and_then_the_cache(monkeypatch, tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 4))
    asked = openml(monkeypatch, x, np.array(["up", "down"] * 50, dtype=object))
    first = load_dataset("openml:1234", validation_fraction=0)
    again = load_dataset("openml:1234", validation_fraction=0)
    assert len(asked) == 1 and asked[0]["data_id"] == 1234 and asked[0]["data_home"] == str(tmp_path / "cache")
    assert first.x_train.shape == (80, 4) and first.x_train.dtype == torch.float32
    assert first.class_names == ["down", "up"] and first.y_test.sum() == 10
    assert torch.equal(first.x_test, again.x_test)
    load_dataset("openml:1234", cache_dir=str(tmp_path / "elsewhere"))
    assert len(asked) == 2 and (tmp_path / "elsewhere" / "difflut" / "openml-1234.npz").is_file()


def test_openml_by_name(monkeypatch):
    asked = openml(monkeypatch, np.zeros((10, 2)), np.array([0.0, 1.0] * 5))
    load_dataset("openml:some-name")
    assert asked[0]["name"] == "some-name"


def test_the_published_split_of_mnist_is_the_order_of_its_rows(monkeypatch):
    # One zero that all rows share: 70,000 images without the memory.
    x = np.broadcast_to(np.float32(0), (70_000, 784))
    monkeypatch.setattr("experiments.data.openml._table", lambda bunch, origin: (x, ["p"] * 784))
    target = np.array([str(row % 10) for row in range(60_000)] + ["7"] * 10_000, dtype=object)
    openml(monkeypatch, x, target)
    data = load_dataset("mnist", validation_fraction=0)
    assert data.x_train.shape == (60_000, 28, 28) and data.x_train.dtype == torch.uint8
    assert data.y_train[:10].tolist() == list(range(10)) and data.y_test.eq(7).all()


def test_cifar_rows_become_images_with_channels_last():
    from experiments.data.sources import _color_images

    row = np.repeat([1, 2, 3], 1024)[None]
    row[0, 1] = 9  # the second red pixel of the first line
    image = _color_images(row)[0]
    assert image.shape == (32, 32, 3)
    assert image[0, 1].tolist() == [9, 2, 3] and image[31, 31].tolist() == [1, 2, 3]


def test_jets_take_the_unstratified_split_of_the_tutorial(monkeypatch):
    from sklearn.model_selection import train_test_split

    x = np.arange(50, dtype=float)[:, None]
    openml(monkeypatch, x, np.array(list("gqtwz") * 10, dtype=object))
    data = load_dataset("jsc_openml")
    assert data.x_test.tolist() == train_test_split(x, test_size=0.2, random_state=42)[1].tolist()


def test_categories_become_columns_of_zero_and_one(monkeypatch):
    x = np.array([[0.5, 0, 1], [0.25, 2, 0], [1.5, 1, 1], [2.5, 0, 0], [3.5, 1, 1]] * 4)
    categories = {"color": ["red", "green", "blue"], "big": ["no", "yes"]}
    openml(monkeypatch, x, np.array([0, 1, 0, 1, 0] * 4), ["size", "color", "big"], categories)
    data = load_dataset("openml:5", validation_fraction=0)
    rows = {tuple(row) for row in torch.cat([data.x_train, data.x_test]).tolist()}
    assert rows == {(0.5, 1, 0, 0, 1), (0.25, 0, 0, 1, 0), (1.5, 0, 1, 0, 1), (2.5, 1, 0, 0, 0), (3.5, 0, 1, 0, 1)}


def test_missing_values_from_openml_name_the_column(monkeypatch):
    x = np.array([[1.0, np.nan], [2.0, 1.0]] * 5)
    openml(monkeypatch, x, np.array(["a", "b"] * 5), ["age", "color"], {"color": ["red", "green", "blue"]})
    with pytest.raises(BadDatasetError, match=re.escape("'openml:6' (OpenML 6): missing or infinite values in 1 of 2")):
        load_dataset("openml:6")


def test_missing_labels_from_openml_are_refused(monkeypatch):
    openml(monkeypatch, np.zeros((4, 1)), np.array(["a", None, "b", "a"], dtype=object))
    with pytest.raises(BadDatasetError, match="1 of 4 labels are missing"):
        load_dataset("openml:7")


def test_several_targets_from_openml_are_refused(monkeypatch):
    openml(monkeypatch, np.zeros((4, 1)), np.array([["a", "b"]] * 4, dtype=object))
    with pytest.raises(BadDatasetError, match=r"target has shape \(4, 2\); it must be one column of classes"):
        load_dataset("openml:9")


def test_a_class_of_one_row_still_splits(monkeypatch):
    openml(monkeypatch, np.zeros((10, 1)), np.array(["a"] * 9 + ["b"]))
    data = load_dataset("openml:8", validation_fraction=0)
    assert (len(data.x_train), len(data.x_test), data.num_classes) == (8, 2, 2)


def many(classes, first=0, rows=2000):
    return np.arange(rows) % classes + first


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.float32, str])
@pytest.mark.parametrize("shift", [1, -1])
def test_test_labels_that_count_otherwise_are_refused(folder, classes, kind, shift):
    x = np.random.default_rng(1).normal(size=(2000, 3))
    labels = {"y_train": many(classes, 1).astype(kind), "y_test": many(classes, 1 + shift).astype(kind)}
    np.savez(folder / "mine.npz", **table(x_train=x, x_test=x, **labels))
    with pytest.raises(BadDatasetError, match=r"test rows are of a class that no training row has.*must count alike"):
        load_dataset("mine")


def test_rows_of_one_class_alone_are_refused(folder):
    x = np.random.default_rng(1).normal(size=(20, 3))
    np.savez(
        folder / "mine.npz", **table(x_train=x, x_test=x, y_train=0 * many(2, rows=20) + 3, y_test=many(4, rows=20))
    )
    with pytest.raises(BadDatasetError, match="all 20 training rows are of the class '3'; give rows of two classes"):
        load_dataset("mine")


def test_a_rare_class_may_occur_in_the_test_alone(folder):
    x = np.random.default_rng(1).normal(size=(2000, 3))
    y_test = many(10)
    y_test[:7] = 12
    np.savez(folder / "mine.npz", **table(x_train=x, x_test=x, y_train=many(10), y_test=y_test))
    assert load_dataset("mine").num_classes == 11


@pytest.mark.parametrize(
    "train,test,message",
    [
        (np.uint8, lambda x: (x / 255).astype(np.float32), "x_train is uint8 and x_test float32"),
        (lambda x: x / 255, np.int64, "x_train is float64 and x_test int64"),
        (np.float64, lambda x: x / 255, r"x_test are 0\.00\d+ times those of x_train"),
        (lambda x: x / 100, np.float32, r"x_test are 1?\d\d times"),
    ],
)
def test_features_of_another_scale_or_type_in_the_test_are_refused(folder, train, test, message):
    x = np.random.default_rng(2).integers(0, 256, (40, 8))
    x_train, x_test = (change(part) if callable(change) else part for change, part in ((train, x), (test, x[:6])))
    np.savez(folder / "mine.npz", **table(40, x_train=x_train, x_test=x_test))
    with pytest.raises(BadDatasetError, match=message):
        load_dataset("mine")


def test_whole_numbers_may_be_of_any_type(folder):
    x = np.random.default_rng(2).integers(0, 256, (40, 8))
    np.savez(folder / "mine.npz", **table(40, x_train=x.astype(np.uint8), x_test=x[:6].astype(np.float64)))
    assert load_dataset("mine").feature_shape == (8,)


def test_times_that_float32_cannot_tell_apart_are_refused(folder):
    times = 1_700_000_000 + np.random.default_rng(0).integers(0, 3600, (20, 1))
    np.savez(folder / "mine.npz", **table(x_train=times, x_test=times[:6]))
    with pytest.raises(BadDatasetError, match=r"feature 0 goes from 17\d+ to 17\d+.*subtract a common value"):
        load_dataset("mine")
