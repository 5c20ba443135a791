import os

import pytest

import experiments  # noqa: F401
from difflut import config
from difflut.config.statements import statements


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files that include each other, by their own folder and by one above, read from somewhere else."""
    files = {
        "top/a.gin": 'include "parts/b.gin"\nrun.job = @train\ntrain.epochs = 3\n',
        "top/parts/b.gin": 'include "c.gin"\ninclude "top/parts/deep/d.gin"\ntrain.batch_size = 7\n',
        "top/parts/c.gin": "train.seed = 5\n",
        "top/parts/deep/d.gin": "train.graph = True\n",
        "elsewhere/c.gin": "train.seed = 6\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path


@pytest.mark.parametrize("relative", [False, True])
def test_an_included_file_is_found_from_the_file_that_includes_it(tree, relative):
    path = tree / "top" / "a.gin"
    config.parse([os.path.relpath(path) if relative else str(path)])
    found = statements(config.parsed_config())
    names = ("train.epochs", "train.batch_size", "train.seed", "train.graph")
    assert [found[name] for name in names] == [3, 7, 5, True]


def test_the_present_folder_comes_first_and_a_missing_file_is_named(tree, monkeypatch):
    monkeypatch.chdir(tree / "elsewhere")
    config.parse([str(tree / "top" / "a.gin")])
    assert statements(config.parsed_config())["train.seed"] == 6
    (tree / "top" / "parts" / "deep" / "d.gin").unlink()
    for _ in range(2):  # nothing is left behind by an error
        with pytest.raises(config.ConfigurationError, match=r"top/parts/deep/d\.gin"):
            config.parse([str(tree / "top" / "a.gin")])
    with pytest.raises(config.ConfigurationError, match=r"c\.gin"):
        monkeypatch.chdir(tree / "empty")
        config.parse(["c.gin"])


@pytest.fixture
def shipped(tree, monkeypatch):
    """A folder of files that come along, `configs`, and an empty one from which they are named."""
    folder = tree / "installed" / "configs"
    (folder / "sets").mkdir(parents=True)
    (folder / "first.gin").write_text("run.job = @train\ntrain.epochs = 8\n")
    (folder / "sets" / "second.gin").write_text('include "configs/first.gin"\ntrain.seed = 9\n')
    monkeypatch.setattr(config.files, "_last", [])
    config.look_in(folder)
    return folder


ENDINGS = ("", ".gin")


@pytest.mark.parametrize("name", [f"{top}sets/second{ending}" for top in ("", "configs/") for ending in ENDINGS])
def test_bundled_files_have_names_on_the_command_line_and_in_files(shipped, tree, name):
    (tree / "empty" / "mine.gin").write_text(f'include "{name}"\n')
    for file in (name, "mine"):
        config.parse([file])
        found = statements(config.parsed_config())
        assert (found["train.epochs"], found["train.seed"]) == (8, 9)


def test_a_file_of_ones_own_comes_before_those(shipped, tree):
    (tree / "empty" / "first.gin").write_text("run.job = @train\ntrain.epochs = 2\n")
    config.parse(["first"])
    assert statements(config.parsed_config())["train.epochs"] == 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_file_gets_the_names_that_are_spelled_like_it(shipped, tree, ending):
    assert list(config.bundled_files()) == ["first", "sets/second"]
    (tree / "empty" / "mine.gin").write_text(f'train.seed = 3\ninclude "sets/secnd{ending}"\n')
    with pytest.raises(
        config.ConfigurationError, match=rf"no Gin file 'sets/secnd{ending}'; did you mean 'sets/second"
    ) as error:
        config.parse(["mine.gin"])
    assert 'In file "mine.gin", line 2' in str(error.value)
    with pytest.raises(config.ConfigurationError, match=f"no Gin file 'zzz{ending}'; known: first, sets/second$"):
        config.parse([f"zzz{ending}"])


@pytest.mark.parametrize(
    "parameter,meant",
    [
        ("dataset.name=digits", 'dataset.name = "digits"'),
        ("dataset.name = my data # mine", 'dataset.name = "my data"'),
        ("train.graph = true", "train.graph = True"),
        ("train.schedule = none", "train.schedule = None"),
        ("layers.random.node_type = nodes.dwn", "layers.random.node_type = @nodes.dwn"),
        ("network.encoder = thermometer()", "network.encoder = @thermometer()"),
        ("a/train.runs = runs/old", 'a/train.runs = "runs/old"'),
    ],
)
def test_a_word_that_lacks_its_sign_gets_an_answer_with_it(tmp_path, parameter, meant):
    with pytest.raises(config.ConfigurationError) as error:
        config.parse([], [parameter], "run.job = @train")
    assert f"did you mean {meant}?" in str(error.value)
    (tmp_path / "a.gin").write_text(f"run.job = @train\n{parameter}\n")
    with pytest.raises(config.ConfigurationError) as error:
        config.parse([str(tmp_path / "a.gin")])
    assert f"did you mean {meant}?" in str(error.value) and "line 2" in str(error.value)


def test_a_module_that_cannot_be_imported_is_told_in_a_line(tmp_path):
    (tmp_path / "a.gin").write_text("import no_such_module\nrun.job = @train\n")
    with pytest.raises(config.ConfigurationError, match="No module named 'no_such_module'"):
        config.parse([str(tmp_path / "a.gin")])


@pytest.mark.parametrize(
    "parameter", ["train.epochs = [1", "train.epochs =", "train.epochs = 3 4", 'dataset.name = "a']
)
def test_what_is_otherwise_wrong_gets_no_such_answer(parameter):
    with pytest.raises(config.ConfigurationError) as error:
        config.parse([], [parameter], "run.job = @train")
    assert "did you mean" not in str(error.value)
