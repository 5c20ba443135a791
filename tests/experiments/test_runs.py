import os

import pytest

from difflut.config import ConfigurationError
from experiments.runs import RunFolder, dataset_of


@pytest.fixture
def folder(tmp_path):
    """A run that was killed while it wrote the metrics of its third epoch."""
    folder = RunFolder.create(str(tmp_path), "killed")
    for epoch in (1, 2):
        folder.append_metrics({"epoch": epoch})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3')
    return folder


def test_a_folder_that_cannot_be_made_is_an_error_of_the_configuration(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigurationError, match=r"file/name-.*: a run's folder cannot be made here \(Not a directory\)"
    ):
        RunFolder.create(f"{tmp_path}/file", "name")


def test_half_a_line_of_metrics_is_no_epoch(folder):
    assert folder.metrics() == [{"epoch": 1}, {"epoch": 2}]


def test_forgetting_leaves_whole_lines(folder):
    folder.forget_after(2)
    folder.append_metrics({"epoch": 3})
    assert folder.metrics() == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]
    folder.forget_after(1)
    assert folder.metrics() == [{"epoch": 1}]


def test_a_kill_while_forgetting_keeps_the_metrics(folder, monkeypatch):
    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.forget_after(1)
    assert len(folder.metrics()) == 2


@pytest.mark.parametrize("missing", ["best.pt", "result.json"])
def test_a_finished_run_needs_a_network_and_a_result_but_no_last_checkpoint(folder, missing):
    for name in {"best.pt", "result.json"} - {missing}:
        (folder.path / name).touch()
    with pytest.raises(FileNotFoundError, match=f"no finished run here; {missing} is missing"):
        RunFolder.open_finished(str(folder.path))
    (folder.path / missing).touch()
    assert RunFolder.open_finished(str(folder.path)).path == folder.path
    with pytest.raises(FileNotFoundError, match=r"no run to continue here; last.pt is missing"):
        RunFolder.open(str(folder.path))


def test_a_run_or_model_that_is_not_there_has_its_like_named(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.path.parent)
    typo, like = f"{folder.path.name[:-6]}…", f"is missing; did you mean '{folder.path.name}'"
    with pytest.raises(FileNotFoundError, match=r"best\.pt is missing$"):
        RunFolder.open_finished(typo)
    for file in ("best.pt", "last.pt"):
        (folder.path / file).touch()
    with pytest.raises(FileNotFoundError, match=like):
        RunFolder.open_finished(typo)
    with pytest.raises(FileNotFoundError, match=like):
        RunFolder.open(typo)
    with pytest.raises(FileNotFoundError, match=r"last\.pt is missing$"):
        RunFolder.open("mnist-400")
    with pytest.raises(FileNotFoundError, match=r"mnist-400: .* is missing; did you mean 'mnist-4000'"):
        RunFolder.open_finished("mnist-400")
    (tmp_path / "killed-empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"best\.pt is missing$"):  # it is there: the name is not what is wrong
        RunFolder.open_finished("killed-empty")


@pytest.mark.parametrize("content", ["", "{}", "[]", "3", '{"dataset": "digits"}', '{"seed": 0}', '{"dataset": "dig'])
def test_a_result_that_is_none_is_named(folder, content):
    (folder.path / "result.json").write_text(content)
    with pytest.raises(ValueError, match=r"result\.json: damaged or not of a run, .*; take another run$"):
        folder.result()


def test_the_data_of_a_run_are_its_own(folder, monkeypatch):
    folder.write_result({"dataset": "openml:7", "seed": 3})
    folder.write_config(
        "C = '/cache'\ndataset.cache_dir = %C\ndataset.validation_fraction = 0.25\ndataset.name = 'x'\n"
    )
    monkeypatch.setattr("experiments.runs.folder.load_dataset", lambda *names, **options: (*names, options))
    assert dataset_of(folder) == ("openml:7", {"seed": 3, "cache_dir": "/cache", "validation_fraction": 0.25})
    folder.write_config("dataset.cache_dir = None\n")
    assert dataset_of(folder) == ("openml:7", {"seed": 3})


def test_a_result_is_what_was_written(folder):
    folder.write_result({"dataset": "digits", "seed": 0})
    assert folder.result() == {"dataset": "digits", "seed": 0}


def test_what_a_kill_left_half_written_is_removed_where_the_run_goes_on(tmp_path):
    for name in ("best.pt.tmp4711", "metrics.jsonl.tmp9", "notes.tmp", "best.pt"):
        (tmp_path / name).touch()
    RunFolder(tmp_path).forget_after(1)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.tmp", "best.pt", "metrics.jsonl"}
