import numpy as np
import pytest

from difflut import config
from difflut.config import ConfigurationError
from experiments.benchmark.tabular_sets import loaded, tabular_sets


def test_a_forest_and_a_network_are_compared_on_every_set_that_is_named(tmp_path, capsys):
    text = 'run.job = @tabular\ntabular.sets = ["iris"]\ntabular.splits = 1\n'
    config.parse([], text=text + f'tabular.runs = "{tmp_path}"\n')
    (row,) = config.run()
    assert (row["set"], row["rows"], row["columns"], row["classes"]) == ("iris", 150, 4, 3)
    assert min(row["forest"], row["ours"]) > 85 and min(row["forest_seconds"], row["our_seconds"]) > 0
    (report,) = tmp_path.glob("*/report.md")
    line = next(line for line in report.read_text().splitlines() if line.startswith("| iris"))
    assert f"{row['ours'] - row['forest']:+.1f}" in line
    assert "means of 1" in report.read_text() and str(report) in capsys.readouterr().out


def test_a_file_is_compared_with_all_its_rows(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 90)
    x = (random.normal(size=(90, 3)) + 3 * y[:, None]).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    monkeypatch.setenv("DIFFLUT_DATA", str(tmp_path))
    found, labels = loaded("mine")
    assert np.array_equal(found, x) and np.array_equal(labels, y)
    text = 'run.job = @tabular\ntabular.sets = ["mine"]\ntabular.splits = 1\n'
    config.parse([], text=text + f'tabular.runs = "{tmp_path / "runs"}"\n')
    (row,) = config.run()
    assert (row["set"], row["rows"], row["columns"], row["classes"]) == ("mine", 90, 3, 2) and row["ours"] > 90


def test_unknown_sets_are_told_by_name():
    config.parse([], text='run.job = @tabular\ntabular.sets = ["iriss"]\n')
    with pytest.raises(ConfigurationError, match=r"tabular\.sets: there is no 'iriss'; known: .*iris"):
        config.run()


@pytest.mark.parametrize("name", tabular_sets())
def test_every_set_is_made_alike_twice_and_has_rows_of_each_class_to_split(name):
    (x, y), (again, _) = tabular_sets()[name](), tabular_sets()[name]()
    assert np.array_equal(x, again) and np.isfinite(x).all() and len(x) == len(y)
    assert np.unique(y, return_counts=True)[1].min() >= 5
