import json

import numpy as np
import pytest
import torch

from difflut.config import ConfigurationError
from difflut.models import load_checkpoint
from difflut.pretrained import CARD, folder_of, load, names
from experiments.data import DatasetNotFoundError, load_dataset
from experiments.export import checks
from experiments.export.export import export
from experiments.export.publish import publish
from experiments.runs import RunFolder
from experiments.shared.failures import MismatchError


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(checks, "BUDGET", 0.0)


def published(run, folder, name="small", **options):
    return publish(str(run), name, "A small one", "digits, CC BY 4.0", folder=str(folder), **options)


def test_a_run_becomes_a_model_that_loads_and_is_exported(finished_run, tmp_path):
    card = published(finished_run, tmp_path, vectors=30)
    model, data = load(tmp_path / "small"), load_dataset("digits")
    with torch.no_grad():
        logits = load_checkpoint(finished_run / "best.pt")(data.x_test)
        assert torch.equal(model.network(data.x_test), logits)
    np.testing.assert_array_equal(model.x, data.x_test[::12])
    assert card["accuracy"] == (logits.argmax(1) == data.y_test).double().mean().item()
    report = export(str(tmp_path / "small"), simulator="none")
    assert (
        report["accuracy"] == card["accuracy"]
        and report["costs"]["estimate"]["after simplification"]["luts"] == (card["luts"])
    )
    assert (tmp_path / "small" / "export" / "verilog" / "circuit.v").exists()


def test_a_model_that_comes_along_is_exported_by_name_without_its_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def missing(name, **_):
        raise DatasetNotFoundError(f"no data set {name}")

    monkeypatch.setattr("experiments.runs.folder.load_dataset", missing)
    report = export("digits-2000", simulator="none")
    assert report["samples"] == 100 and all(check["mismatches"] == 0 for check in report["checks"].values() if check)
    assert "no data set digits; the 100 test vectors of digits-2000 take its place" in capsys.readouterr().out
    assert (tmp_path / "runs" / "digits-2000" / "export" / "verilog" / "circuit.v").exists()
    assert "digits-2000" in names()


def test_data_that_are_missing_are_an_error_of_a_run(finished_run, monkeypatch):
    def missing(name, **_):
        raise DatasetNotFoundError("no data")

    monkeypatch.setattr("experiments.runs.folder.load_dataset", missing)
    with pytest.raises(Exception, match="no data"):
        export(str(finished_run), simulator="none")


def test_a_network_that_is_written_wrongly_is_not_published(finished_run, tmp_path, monkeypatch):
    right = load_checkpoint(finished_run / "best.pt")

    def wrong(*_, **__):
        right.layers[0].mapping.copy_(right.layers[0].mapping.flip(0))
        return right

    monkeypatch.setattr("difflut.pretrained.model.load_checkpoint", wrong)
    with pytest.raises(MismatchError, match=r"small: the network as published differs from the run's in \d+ samples"):
        published(finished_run, tmp_path)
    assert not (tmp_path / "small").exists()


def test_a_published_model_is_a_folder_as_that_of_a_run(finished_run, tmp_path):
    published(finished_run, tmp_path)
    run = RunFolder.open_finished(str(tmp_path / "small"))
    assert run.config == (finished_run / "config.gin").read_text()
    assert run.result() == json.loads((finished_run / "result.json").read_text())
    assert run.exports == tmp_path / "small" / "export"


NO_NAMES = ["", "a/b", "..", "../up", "a\\b", "-x", "two words", "größe", "x" * 101, "a\n", ".hidden"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_is_no_folders_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"publish.name = '.*must be 1 to 100 letters, digits"):
        published("no run", tmp_path / "models", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Small", "'Small' and the model 'small' differ in upper case alone"),
        ("MNIST-4000", "'MNIST-4000' and the model 'mnist-4000' differ in upper case alone"),
        ("mnist-4000", "'mnist-4000' is a model that comes along"),
        ("notes", "notes is there, and no model"),
    ],
)
def test_a_name_by_which_something_else_is_found_is_refused(tmp_path, name, said):
    for folder in ("small", "notes"):
        (tmp_path / folder).mkdir()
    (tmp_path / "small" / CARD).write_text("{}")
    with pytest.raises(ConfigurationError, match=said):
        published("no run", tmp_path, name)
    with pytest.raises(ConfigurationError, match="no run: no finished run here"):  # the next check
        published("no run", tmp_path, "small")
    with pytest.raises(ConfigurationError, match="no run: no finished run here"):
        published("no run", folder_of("mnist-4000").parent, "mnist-4000")


def test_a_folder_that_cannot_be_made_is_refused_before_the_export(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.export.publish.export_run", None)
    (tmp_path / "file").touch()
    for folder, said in (("file", "file is a file"), ("file/below", "file is a file")):
        with pytest.raises(ConfigurationError, match=said):
            published(finished_run, tmp_path / folder)
